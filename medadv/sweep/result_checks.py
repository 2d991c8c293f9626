"""Trust checks of the stored results: C8, C10, C11, C19 and C20."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby

from medadv.metrics import wilson
from medadv.models import model_sha256
from medadv.sweep.circumstances import told_apart
from medadv.sweep.plan import Evaluation
from medadv.sweep.sample import TOLERANCE, Finding, budget_text, joined, judged, percent
from medadv.sweep.store import Store
from medadv.sweep.taken_for_granted import Granted


@dataclass(frozen=True)
class Point:
    """One attack at one budget, over all images.

    Args:
        attack: its name.
        budget: in its units.
        images: all.
        correct: right without attack.
        robust: right also under attack.
    """

    attack: str
    budget: float
    images: int
    correct: int
    robust: int


def read_points(store: Store) -> list[Point]:
    """The curves of all attacks.

    Args:
        store: with committed attacks.

    Returns:
        By attack, then by rising budget.
    """
    table = store.query(
        "SELECT attack, budget, count(*) AS images, count_if(status <> 'already wrong') AS correct, "
        "count_if(status = 'failed') AS robust FROM rows JOIN units USING (unit) "
        "GROUP BY attack, budget ORDER BY attack, budget",
        kind="attack",
    )
    rows = zip(*(table[name].tolist() for name in ("attack", "budget", "images", "correct", "robust")), strict=True)
    return [Point(str(attack), float(budget), *map(int, counts)) for attack, budget, *counts in rows]


def falling(
    store: Store, may_break_none: Collection[str] = (), granted: Sequence[Granted] = (), images: int = 0
) -> Finding:
    """C8: no image that a budget breaks withstands a larger one, and the largest budget breaks some.

    Where budgets fall, the first is taken for granted of what was not attacked, and tried on the sample.

    Args:
        store: with committed attacks.
        may_break_none: attacks from which nothing can be told if they break none, as they do not see the model's
            gradients, or look for the smallest change and not for one within the budget.
        granted: what was tried of each attack whose budgets fall.
        images: of the sample on which it was tried.

    Returns:
        Passed where both hold for every other attack, and the first for all: for what was taken for granted, with
        exceptions in at most 5 % of the sample.
    """
    recovered = int(
        store.query(
            "SELECT count(*) AS recovered FROM (SELECT status, "
            "lag(status) OVER (PARTITION BY attack, example ORDER BY budget) AS before "
            "FROM rows JOIN units USING (unit)) WHERE before = 'success' AND status <> 'success'",
            kind="attack",
        )["recovered"][0]
    )
    parts = []
    fallen = True
    for name, group in groupby(read_points(store), key=lambda point: point.attack):
        points = list(group)
        fallen = fallen and (name in may_break_none or points[-1].robust < max(points[-1].correct, 1))
        values = ", ".join(f"{percent(point.robust / point.images)} at {budget_text(point.budget)}" for point in points)
        parts.append(f"{name}: {percent(points[0].correct / points[0].images)} without attack, {values}")
    parts.append(f"{recovered} images withstand a larger budget than one that broke them")
    parts += [str(each) for each in granted]
    held = all(each.broken <= TOLERANCE * images for each in granted)
    return judged(recovered == 0 and fallen and held, joined(parts))


def worst_case(store: Store) -> Finding:
    """C10: an image counts as robust only if it withstands every attack.

    Args:
        store: with committed attacks.

    Returns:
        Passed where that is not above the robust accuracy against any one attack.
    """
    robust = int(
        store.query(
            "SELECT count(*) AS robust FROM (SELECT example FROM rows JOIN units USING (unit) GROUP BY example "
            "HAVING bool_and(status = 'failed'))",
            kind="attack",
        )["robust"][0]
    )
    points = read_points(store)
    images = points[0].images
    best = min(points, key=lambda point: point.robust)
    sentence = (
        f"{robust} of {images} images ({percent(robust / images)}) withstand all attacks at all budgets; the strongest "
        f"alone, {best.attack} at {budget_text(best.budget)}, leaves {best.robust} ({percent(best.robust / images)})."
    )
    return judged(robust <= best.robust, sentence)


def clean_accuracy(store: Store) -> Finding:
    """C11: accuracy without attack stands beside robust accuracy, the same for every attack.

    Args:
        store: with committed attacks.

    Returns:
        Passed where all units agree on it, image by image.
    """
    points = read_points(store)
    counts = sorted({(point.correct, point.images) for point in points})
    differing = int(
        store.query(
            "SELECT count(*) AS differing FROM (SELECT example FROM rows GROUP BY example "
            "HAVING count(DISTINCT status = 'already wrong') > 1)",
            kind="attack",
        )["differing"][0]
    )
    same = len(counts) == 1 and differing == 0
    correct, images = counts[0]
    low, high = wilson(correct, images)
    sentence = (
        f"{correct} of {images} images ({percent(correct / images)}, 95 % interval {100 * low:.1f} to {percent(high)}) "
        f"are right without attack; {'all' if same else 'not all'} attacks and budgets saw the same."
    )
    return judged(same, sentence)


def provenance(evaluation: Evaluation, store: Store) -> Finding:
    """C19: every unit names weights, data, configuration, seed and versions, and the weights did not change.

    Args:
        evaluation: what was evaluated.
        store: with committed attacks.

    Returns:
        Passed where all do, and the weights have the fingerprint of the plan. Versions may differ; it is said in what.
    """
    receipts = store.receipts("attack")
    needed = ("model_sha256", "data_sha256", "configuration", "seed", "version")
    wanted = {"model_sha256": store.plan["model"]["sha256"], "data_sha256": store.plan["data"]["sha256"]}
    complete = [
        receipt
        for receipt in receipts
        if all(name in receipt.unit.fields for name in needed)
        and all(receipt.unit.fields[name] == value for name, value in wanted.items())
        and "torch" in receipt.facts.get("versions", {})
    ]
    same = model_sha256(evaluation.victim.module) == store.plan["model"]["sha256"]
    sentence = (
        f"{len(complete)} of {len(receipts)} units name weights ({wanted['model_sha256'][:12]}), data "
        f"({wanted['data_sha256'][:12]}), configuration, seed and versions; the weights are "
        f"{'the same as' if same else 'not those of'} before the attacks. {told_apart(store.receipts())}"
    ).strip()
    return judged(same and len(complete) == len(receipts), sentence)


def intervals(store: Store) -> Finding:
    """C20: each robust accuracy comes with a Wilson 95 % interval.

    Args:
        store: with committed attacks.

    Returns:
        Passed; the sentence names the widest interval.
    """
    points = read_points(store)
    widest = max(points, key=_width)
    low, high = wilson(widest.robust, widest.images)
    sentence = (
        f"Wilson 95 % intervals of {len(points)} rates over {widest.images} images; the widest is {100 * low:.1f} to "
        f"{percent(high)}, for {widest.attack} at {budget_text(widest.budget)}."
    )
    return judged(True, sentence)


def _width(point: Point) -> float:
    low, high = wilson(point.robust, point.images)
    return high - low
