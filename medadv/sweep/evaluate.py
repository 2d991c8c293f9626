"""Run an evaluation into a store, so that it can be stopped, or killed, at any moment and continued."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medadv import _arguments
from medadv.attacks import BudgetedAttack, MinimumNormAttack, Status
from medadv.attacks.progress import watched
from medadv.objectives import Margin, Undetected
from medadv.sweep.curve import Curve, Surrogate
from medadv.sweep.falling import fall
from medadv.sweep.outcome import Outcome
from medadv.sweep.panels import panel_examples, panels_within
from medadv.sweep.plan import Evaluation, differences, versions
from medadv.sweep.progress import Progress, Teller
from medadv.sweep.rows import Columns, as_column, read_off
from medadv.sweep.store import Store, StoreDamaged, StoreExists
from medadv.sweep.trust import run_checks
from medadv.sweep.unit import Unit

_DIFFERENCES_SHOWN = 4
_OF_THE_FIRST_RUN = ("created", "versions")  # in a plan; a receipt names those of its unit
_TRIED_BEFORE_THE_STORE = 8  # images
_BATCHES_HELD = 8  # by an attack: more images, fuller batches, and more memory


class PlanDiffers(ValueError):  # noqa: N818
    """A store that was to be continued belongs to another plan."""


def evaluate(
    evaluation: Evaluation,
    path: str | os.PathLike[str],
    *,
    resume: bool = False,
    batch_size: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Store:
    """Attack every image at every budget, check whether the result can be trusted, and store both.

    Everything that can be wrong with model, images and attacks is looked at before the store is made. An image broken
    at a smaller budget keeps that result; an attack that looks for the smallest change is run once, and the budgets are
    read off. A unit is committed when it is complete, the units of budgets that fall together; stopping (an exception
    from `progress`, KeyboardInterrupt, kill -9) loses only what is in work, and a continued evaluation stores the same
    rows as one that was never stopped. Budgets that fall are committed one after the other; where that was stopped,
    their search is made again in the batches in which it was begun, whatever `batch_size` is now. Receipts name
    versions, processor, device and threads; where an evaluation is continued under others, its rows are the same but
    for rounding, and trust check C19, the report and `medadv verify` say so.

    Args:
        evaluation: what is evaluated.
        path: directory of the store; must not exist, unless `resume`.
        resume: continue the store at `path` if there is one.
        batch_size: images shown to the model at once, default that of the evaluation; results depend on it through
            rounding only. An attack may work on eight times as many: as images leave, batches are packed anew.
        progress: called before the first images and after the last ones that an attack works on, and meanwhile every
            half second or after the batch that takes longer.

    Returns:
        The complete store.

    Raises:
        StoreExists: there is something at `path`, and `resume` is False.
        PlanDiffers: the store at `path` was made for another evaluation.
        StoreDamaged: a file of the store at `path` is damaged, or does not say what continuing it takes.
        TypeError, ValueError: what the victim or an attack refuses.

    >>> import tempfile
    >>> from medadv.attacks import PGD
    >>> from medadv.data import chest_phantoms
    >>> from medadv.models import Victim
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 2)).eval()
    >>> curve = Curve(PGD(steps=2), (0.01, 0.02))
    >>> films = chest_phantoms(6, size=16)
    >>> job = Evaluation(Victim(net), "a linear model", films, "phantoms", (curve,))
    >>> store = evaluate(job, Path(tempfile.mkdtemp()) / "sweep")
    >>> store.query("SELECT count(*) AS rows FROM rows", kind="attack")["rows"].tolist()
    [12]
    """
    given = evaluation.batch_size if batch_size is None else batch_size
    batch_size = _arguments.whole(given, "batch_size", at_least=1)
    if not resume and os.path.lexists(path):
        raise StoreExists(f"path must not exist yet, got {Path(path)}")
    _try_attacks(evaluation)
    store = _open(path, evaluation.plan(), resume)
    run = _Run(evaluation, store, batch_size, progress or (lambda now: None))
    run.attacks()
    run.checks()
    return store


def _try_attacks(evaluation: Evaluation) -> None:
    """One step of each attack on a few images, so that a model without gradients is found before the store is made."""
    for curve in evaluation.curves:
        curve.attack.check_victim(evaluation.victim if curve.surrogate is None else curve.surrogate.victim)
    correct = evaluation.victim.correct(evaluation.logits, evaluation.targets)
    few = correct.nonzero().flatten()[: min(_TRIED_BEFORE_THE_STORE, evaluation.batch_size)]
    if len(few) == 0:
        return
    images, targets = evaluation.images[few], evaluation.targets[few]
    for curve in evaluation.curves:
        curve.run(curve.shortest(), evaluation.victim, images, targets, few, evaluation.logits[few])


def _open(path: str | os.PathLike[str], plan: dict[str, Any], resume: bool) -> Store:
    if not resume or not os.path.lexists(path):
        return Store.create(path, plan)
    store = Store.open(path)
    found = differences(store.plan, {**plan, **{name: store.plan.get(name) for name in _OF_THE_FIRST_RUN}})
    shown = [phrase for phrase in found if not phrase.startswith("units")][:_DIFFERENCES_SHOWN]
    if found:
        raise PlanDiffers(f"{Path(path)} holds another evaluation and cannot be continued: {'; '.join(shown)}")
    return store


@dataclass(frozen=True)
class _Batches:
    """How many images the model is shown at once, how many an attack works on, and how many clean ones are shown."""

    batch_size: int
    images_held: int
    clean_batch_size: int


class _Run:
    def __init__(
        self, evaluation: Evaluation, store: Store, batch_size: int, progress: Callable[[Progress], None]
    ) -> None:
        self.evaluation = evaluation
        self.store = store
        self.batch_size = batch_size
        self.teller = Teller(progress)
        self.victim = evaluation.victim.in_batches_of(batch_size, self.teller.still_there)
        self.total = len(evaluation.units())
        self.committed = {**_committed_rows(store, "search"), **_committed_rows(store, "attack")}
        self.done = len(self.committed)
        correct = evaluation.victim.correct(evaluation.logits, evaluation.targets)
        self.correct = correct.cpu().numpy()
        self.labels = as_column(evaluation.data.labels, evaluation.data.class_names)
        self._of_surrogates: dict[Surrogate, Tensor] = {}

    def attacks(self) -> None:
        run = {"falling": self._fall, "rising": self._rise, "read off": self._search}
        for shard in range(len(self.evaluation.shards)):
            for curve in self.evaluation.curves:
                run[self.evaluation.kind_of(curve)](curve, shard)

    def checks(self) -> None:
        unit = self.evaluation.check_unit()
        if unit.id in self.store.done():
            self.teller.tell(Progress("done", self.total, self.total))
            return
        started = time.monotonic()

        def tell(doing: str, share: float) -> None:
            self.teller.tell(Progress(doing, self.done + share, self.total))

        checks = run_checks(self.evaluation, self.store, tell)
        columns = {
            "check": [check.check for check in checks],
            "title": [check.title for check in checks],
            "outcome": [check.outcome for check in checks],
            "sentence": [check.sentence for check in checks],
        }
        self.store.commit(unit, columns, facts=self._facts(time.monotonic() - started))
        self.teller.tell(Progress("done", self.total, self.total))

    def _rise(self, curve: Curve, shard: int) -> None:
        """From the smallest budget to the largest, each from the last one's result."""
        smaller: Outcome | None = None
        for step, attack in enumerate(curve.attacks):
            unit = self.evaluation.attack_unit(curve, step, shard)
            smaller = self._known(unit) or self._run(unit, curve, attack, f"{curve.label} {attack.budget:.4g}", smaller)

    def _fall(self, curve: Curve, shard: int) -> None:
        """From the largest budget to the smallest, each with what the last one found, which is not stored."""
        units = [self.evaluation.attack_unit(curve, step, shard) for step in range(len(curve.budgets))]
        missing = [step for step, unit in enumerate(units) if unit.id not in self.committed]
        if not missing:
            return
        examples = _examples(units[0])

        begun = self._begun_with(units)
        batches = self._batches if begun is None else begun
        aside = "" if batches == self._batches else f" ({batches.batch_size} at once, as it was begun)"

        def now(step: int, share: float) -> Progress:
            doing = f"{curve.label} {curve.budgets[step]:.4g}, images {examples[0]} to {examples[-1]}{aside}"
            return Progress(doing, self.done + share * len(missing), self.total)

        def tell(step: int, share: float) -> None:
            self.teller.tell(now(step, share))

        def note(step: int, share: float) -> None:
            self.teller.note(now(step, share))

        evaluation = self.evaluation
        if batches.clean_batch_size != evaluation.batch_size:
            evaluation = replace(evaluation, batch_size=batches.clean_batch_size)
        victim = evaluation.victim.in_batches_of(batches.batch_size, self.teller.still_there)
        shown = self._shown(examples)
        outcomes, seconds = fall(evaluation, victim, curve, examples, shown, batches.images_held, tell, note)
        for step in missing:
            self._commit(units[step], outcomes[step], seconds[step], batches)

    def _begun_with(self, units: list[Unit]) -> _Batches | None:
        """The batches of those budgets that are there, as budgets that fall are all of one search; None without one.

        In others an image might, by rounding, withstand a budget and break at a smaller one.
        """
        begun = [unit for unit in units if unit.id in self.committed]
        if not begun:
            return None
        facts = self.store.receipt(begun[0].id).facts
        unknown = [item.name for item in fields(_Batches) if item.name not in facts]
        if unknown:
            told, examples = begun[0].fields, _examples(begun[0])
            receipts = ", ".join(f"receipts/{unit.id}.json" for unit in begun)
            raise StoreDamaged(
                f"{self.store.path}: {told['attack']} on images {examples[0]} to {examples[-1]} cannot be continued, "
                f"as the batches in which it was begun are not known ({', '.join(unknown)} missing); remove {receipts} "
                "to begin it anew"
            )
        return _Batches(*(facts[item.name] for item in fields(_Batches)))

    def _search(self, curve: Curve, shard: int) -> None:
        """Once for the smallest change; then the budgets are read off."""
        unit = self.evaluation.search_unit(curve, shard)
        found = self._known(unit) or self._run(unit, curve, curve.attack, curve.label, None)
        rows = slice(unit.fields["first"], unit.fields["last"] + 1)
        with torch.no_grad():
            margin = Undetected() if self.evaluation.victim.guarded else Margin()
            margins = margin(self.evaluation.logits[rows], self.evaluation.targets[rows]).cpu().numpy()
        for step, budget in enumerate(curve.budgets):
            unit = self.evaluation.attack_unit(curve, step, shard)
            if unit.id in self.committed:
                continue
            columns = read_off(found.columns, budget, margins)
            within = columns["example"][columns["status"] == str(Status.SUCCESS)]
            self._commit(unit, Outcome(columns, panels_within(found.panels, within)), 0.0, self._batches)

    def _known(self, unit: Unit) -> Outcome | None:
        if unit.id not in self.committed:
            return None
        return Outcome(self.committed[unit.id], self.store.artifacts(unit.id))

    def _run(
        self,
        unit: Unit,
        curve: Curve,
        attack: BudgetedAttack | MinimumNormAttack,
        doing: str,
        smaller: Outcome | None,
    ) -> Outcome:
        started = time.monotonic()
        evaluation, examples = self.evaluation, _examples(unit)
        doing = f"{doing}, images {examples[0]} to {examples[-1]}"

        def now(share: float) -> Progress:
            return Progress(doing, self.done + share, self.total)

        def note(share: float) -> None:
            self.teller.note(now(share))

        self.teller.tell(now(0.0))
        outcome = Outcome.blank(evaluation.data, examples) if smaller is None else smaller
        rows = examples if smaller is None else smaller.examples(Status.FAILED)
        batches, answers = self._batches, self._surrogate_logits(curve)
        curve = curve.in_batches_of(self.batch_size, self.teller.still_there)
        for start in range(0, len(rows), batches.images_held):
            batch = rows[start : start + batches.images_held]
            ids = torch.from_numpy(batch).to(evaluation.device)
            images, targets, logits = evaluation.images[ids], evaluation.targets[ids], evaluation.logits[ids]
            clean_forwards = 1 if smaller is None else 0
            with watched(note, start / len(rows), len(batch) / len(rows)):
                others = None if answers is None else answers[ids]
                result = curve.run(attack, self.victim, images, targets, ids, logits, clean_forwards, others)
            outcome = outcome.with_result(attack, batch, images, result, evaluation.data, self._shown(examples))
            self.teller.tell(now((start + len(batch)) / len(rows)))
        self._commit(unit, outcome, time.monotonic() - started, batches)
        return outcome

    def _surrogate_logits(self, curve: Curve) -> Tensor | None:
        """What the surrogate says of all clean images, asked once for all attacks that are made on it."""
        surrogate, evaluation = curve.surrogate, self.evaluation
        if surrogate is None:
            return None
        if surrogate not in self._of_surrogates:
            parts = evaluation.images.parts(evaluation.batch_size)
            self._of_surrogates[surrogate] = surrogate.victim.clean_logits_in_parts(parts, evaluation.targets)
        return self._of_surrogates[surrogate]

    @property
    def _batches(self) -> _Batches:
        return _Batches(self.batch_size, self.batch_size * _BATCHES_HELD, self.evaluation.batch_size)

    def _shown(self, examples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which of these images are kept to be looked at."""
        return panel_examples(self.labels[examples], self.correct[examples], int(examples[0]))

    def _commit(self, unit: Unit, outcome: Outcome, seconds: float, batches: _Batches) -> None:
        columns = outcome.columns.items()
        texts = {name: values.tolist() if values.dtype == object else values for name, values in columns}
        artifacts = outcome.panels if outcome.panels and len(outcome.panels["examples"]) else None
        self.store.commit(unit, texts, artifacts, {**self._facts(seconds), **asdict(batches)})
        self.done += 1

    def _facts(self, seconds: float) -> dict[str, Any]:
        return {
            "seconds": round(seconds, 3),
            "batch_size": self.batch_size,
            "threads": torch.get_num_threads(),
            "versions": versions(self.evaluation.device),
        }


def _examples(unit: Unit) -> NDArray[np.int64]:
    """Numbers of the images of a unit."""
    return np.arange(unit.fields["first"], unit.fields["last"] + 1)


def _committed_rows(store: Store, kind: str) -> dict[str, Columns]:
    """The rows of every committed unit of a kind, by unit id."""
    if not store.receipts(kind):
        return {}
    table = store.query("SELECT * FROM rows ORDER BY unit, example", kind=kind)
    units = table.pop("unit")
    found: dict[str, Columns] = {}
    for unit in np.unique(units):
        rows = units == unit
        found[str(unit)] = {name: values[rows] for name, values in table.items()}
    return found
