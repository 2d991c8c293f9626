"""Budgets that fall in an evaluation: the rows of rising ones, for fewer passes, and a trial of the rest."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from medadv.attacks import APGD, FGSM, PGD, AutoAttack, FrequencyAttack, RandomNoise, Square, budget_curve
from medadv.data import ImageSet
from medadv.detectors import GaussianDetector, GuardedVictim
from medadv.models import Victim
from medadv.objectives import Undetected
from medadv.report.results import read_results
from medadv.sweep import Store, StoreDamaged, Unit, attack_checks, falling, result_checks
from medadv.sweep.curve import Curve, Surrogate
from medadv.sweep.evaluate import evaluate
from medadv.sweep.plan import Evaluation
from medadv.sweep.sample import Probe, Sample
from medadv.sweep.sealed_json import seal, unseal
from medadv.sweep.taken_for_granted import Granted, granted_rows, tried_after_all

ROOT = Path(__file__).parents[2]
SQL = "SELECT * FROM rows JOIN units USING (unit) ORDER BY attack, budget, example"
FOUND = ("status", "prediction", "loss", "distance", "step")
PASSES = ("forwards", "backwards")


def rows_of(store, attack, budget):
    where = f"attack = '{attack}' AND budget = {budget!r}"
    return store.query(f"SELECT * FROM rows JOIN units USING (unit) WHERE {where} ORDER BY example", kind="attack")


def outcomes(store):
    checks = store.query('SELECT "check", outcome, sentence FROM rows', "check")
    return {row[0]: row[1:] for row in zip(*checks.values(), strict=True)}


def test_rows_are_those_of_the_falling_budget_curve(job, tmp_path):
    evaluation = job.evaluation()
    store = evaluate(evaluation, tmp_path / "out")
    images, targets = torch.from_numpy(evaluation.data.images), evaluation.targets
    for curve in evaluation.curves:
        results = budget_curve(curve.attack, curve.budgets, evaluation.victim, images, targets, falling=True)
        found = {"predictions": "prediction", "loss": "loss", "distance": "distance", "step": "step"}
        kept = None
        for budget, result in zip(curve.budgets, results, strict=True):
            rows = rows_of(store, curve.label, budget)
            assert set(rows["curve"]) == {"falling"}
            assert (rows["status"] == "success").tolist() == result.success.tolist()
            assert (rows["status"] == "failed").tolist() == result.robust.tolist()
            for name in PASSES:  # where they were made
                assert rows[name].tolist() == getattr(result, name).tolist(), name
            before = np.zeros(len(images), bool) if kept is None else kept["status"] == "success"
            for name, column in found.items():
                np.testing.assert_array_equal(rows[column][~before], getattr(result, name)[~before].numpy())
                if kept is not None:  # what broke an image at a smaller budget stays its result
                    assert rows[column][before].tolist() == kept[column][before].tolist()
            kept = rows
        assert 0 < before.sum() < len(images)


def test_rising_and_falling_budgets_agree_on_every_image(job, tmp_path):
    tables = [
        evaluate(job.evaluation(falling=falling), tmp_path / str(falling)).query(SQL, "attack")
        for falling in (False, True)
    ]
    rising, falling = tables
    assert set(rising["curve"]) == {"rising"}
    assert rising["status"].tolist() == falling["status"].tolist()
    assert falling["backwards"].sum() < rising["backwards"].sum()


def test_passes_add_up_to_what_the_model_was_asked(job, tmp_path):
    module = job.BrighterHalf()
    asked = []

    def progress(now):
        if now.doing.startswith("check "):
            asked.append(module.shown)

    evaluation = job.evaluation(module)
    clean_and_trial = 24 + 2 * 8 * 2
    store = evaluate(evaluation, tmp_path / "out", progress=progress)
    assert read_results(store).forwards == asked[0] - clean_and_trial + 2 * 24  # an attack counts its clean images
    assert store.query("SELECT sum(forwards) AS sum FROM rows", "attack")["sum"][0] == read_results(store).forwards


@pytest.mark.parametrize("batch_size", [1, 7])
def test_batches_change_neither_rows_nor_pictures(job, tmp_path, batch_size):
    evaluation = job.evaluation()
    whole = evaluate(evaluation, tmp_path / "whole")
    parts = evaluate(job.evaluation(), tmp_path / "parts", batch_size=batch_size)
    one, other = whole.query(SQL, "attack"), parts.query(SQL, "attack")
    for name in {"status", "prediction", "step", *PASSES}:
        assert one[name].tolist() == other[name].tolist(), name
    for receipt in whole.receipts("attack"):
        pictures, others = (store.artifacts(receipt.unit.id) for store in (whole, parts))
        assert pictures["examples"].tolist() == others["examples"].tolist()
        np.testing.assert_allclose(pictures["adversarial"], others["adversarial"], atol=1e-6)


def test_the_picture_of_a_broken_image_is_that_of_the_smallest_budget(job, tmp_path):
    evaluation = job.evaluation()
    store = evaluate(evaluation, tmp_path / "out")
    seen = 0
    for curve in evaluation.curves:
        for shard in range(3):
            units = [evaluation.attack_unit(curve, step, shard).id for step in range(3)]
            status = [rows_of(store, curve.label, budget)["status"] for budget in curve.budgets]
            panels = [store.artifacts(unit) for unit in units]
            for place, example in enumerate(panels[0]["examples"]):
                broken = [step for step in range(3) if status[step][example] == "success"]
                for step in broken[1:]:
                    assert np.array_equal(panels[step]["adversarial"][place], panels[broken[0]]["adversarial"][place])
                    seen += 1
    assert seen > 3


def test_a_crash_while_the_budgets_are_committed(job, tmp_path, monkeypatch):
    whole = evaluate(job.evaluation(), tmp_path / "whole").query(SQL, "attack")
    real, calls = Store.commit, []

    def fails(*arguments, **more):
        calls.append(arguments)
        if len(calls) == 5:
            raise MemoryError
        return real(*arguments, **more)

    monkeypatch.setattr(Store, "commit", fails)
    with pytest.raises(MemoryError):
        evaluate(job.evaluation(), tmp_path / "out")
    monkeypatch.setattr(Store, "commit", real)
    assert len(Store.open(tmp_path / "out").done()) == 4  # all of one attack and shard, and one of the next
    told = []
    store = evaluate(job.evaluation(), tmp_path / "out", resume=True, progress=lambda now: told.append(now.done))
    assert told == sorted(told)
    assert (told[0], told[-1]) == (4, 19)
    again = store.query(SQL, "attack")
    assert all(whole[name].tolist() == again[name].tolist() for name in set(whole) - {"host", "committed"})


class Counting(nn.Module):
    """Its answers hang on how many images are shown at once, as those of others do in the last bit."""

    def forward(self, images):
        halves = images.flatten(1).reshape(len(images), 16, 2, 8).sum(dim=(1, 3))
        return halves * (1 + 1e-3 * len(images))


def counting(job):
    return job.evaluation(Counting(), curves=[Curve(PGD(steps=4, step_size=0.5), job.NOISE)], batch_size=64)


KILLED_IN_A_CURVE = """
import os, signal, sys
sys.path.insert(0, {folder!r})
import conftest, test_falling
from types import SimpleNamespace
from medadv.sweep import Store
from medadv.sweep.evaluate import evaluate

real, calls = Store.commit, []

def commit(*arguments, **more):
    calls.append(arguments)
    if len(calls) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **more)

Store.commit = commit
evaluate(test_falling.counting(conftest), {out!r}, batch_size=1)
"""


def test_a_curve_that_was_killed_between_its_budgets_goes_on_in_the_batches_in_which_it_was_begun(
    job, tmp_path, monkeypatch
):
    begun, other = (
        evaluate(counting(job), tmp_path / str(size), batch_size=size).query(SQL, "attack") for size in (1, 7)
    )
    second = (begun["example"] >= 10) & (begun["example"] < 20)
    assert (begun["loss"] != other["loss"])[second & (begun["budget"] > job.NOISE[0])].any()  # not committed yet
    out = tmp_path / "out"
    code = KILLED_IN_A_CURVE.format(folder=str(Path(__file__).parent), out=str(out))
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120, capture_output=True, check=False)
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert len(Store.open(out).done()) == 4
    told, held = [], []

    def watched(*arguments):
        held.append(arguments[5])
        return falling.fall(*arguments)

    monkeypatch.setattr("medadv.sweep.evaluate.fall", watched)
    evaluation = replace(counting(job), batch_size=9)
    store = evaluate(evaluation, out, batch_size=7, resume=True, progress=lambda now: told.append(now.doing))
    found = store.query(SQL, "attack")
    for name in ("status", "prediction", "loss", "distance", "step", *PASSES):
        assert found[name][second].tolist() == begun[name][second].tolist(), name
    third = found["example"] >= 20
    assert found["loss"][third].tolist() != begun["loss"][third].tolist()
    attacked = [text for text in told if text.startswith("pgd")]
    assert {"(1 at once, as it was begun)" in text for text in attacked if "images 10 to 19" in text} == {True}
    assert not any("as it was begun" in text for text in attacked if "images 20 to 23" in text)
    kept = ("batch_size", "images_held", "clean_batch_size")
    facts = {
        (receipt.unit.fields["shard"], *(receipt.facts[name] for name in kept)) for receipt in store.receipts("attack")
    }
    assert facts == {(0, 1, 8, 64), (1, 1, 8, 64), (2, 7, 56, 9)}
    assert held == [8, 56]


def test_a_curve_begun_in_batches_that_nobody_knows_is_begun_anew_once_its_receipts_are_removed(
    job, tmp_path, monkeypatch
):
    """As receipts were before they named the batches."""
    whole = evaluate(counting(job), tmp_path / "whole").query(SQL, "attack")
    real, calls = Store.commit, []

    def fails(*arguments, **more):
        calls.append(arguments)
        if len(calls) == 6:
            raise MemoryError
        return real(*arguments, **more)

    monkeypatch.setattr(Store, "commit", fails)
    out = tmp_path / "out"
    with pytest.raises(MemoryError):
        evaluate(counting(job), out)
    monkeypatch.setattr(Store, "commit", real)
    for path in (out / "receipts").iterdir():
        receipt = unseal(path.read_bytes())
        for name in ("images_held", "clean_batch_size"):
            del receipt["facts"][name]
        path.write_bytes(seal(receipt))
    curve = counting(job).curves[0]  # all of the first images are there, and two budgets of the second
    begun = [counting(job).attack_unit(curve, step, 1).id for step in (0, 1)]
    with pytest.raises(StoreDamaged) as caught:
        evaluate(counting(job), out, resume=True)
    assert str(caught.value) == (
        f"{out}: pgd on images 10 to 19 cannot be continued, as the batches in which it was begun are not known "
        f"(images_held, clean_batch_size missing); remove receipts/{begun[0]}.json, receipts/{begun[1]}.json to begin "
        "it anew"
    )
    for unit in begun:
        (out / "receipts" / f"{unit}.json").unlink()
    again = evaluate(counting(job), out, resume=True).query(SQL, "attack")
    assert all(whole[name].tolist() == again[name].tolist() for name in set(whole) - {"host", "committed"})


def test_stopping_is_possible_between_two_budgets_of_a_batch(job, tmp_path, monkeypatch):
    monkeypatch.setattr("medadv.sweep.progress._SECONDS_OF_SILENCE", float("inf"))
    told = []
    evaluate(job.evaluation(), tmp_path / "out", batch_size=1, progress=lambda now: told.append(now.doing))
    # Eight images of the first shard, then two, three budgets each; the largest is told before it begins.
    assert [text.split(",")[0] for text in told[:7]] == ["pgd 0.1", *["pgd 0.03", "pgd 0.01", "pgd 0.1"] * 2]
    assert told[0].endswith(", images 0 to 9")
    assert sum(text.startswith("pgd") and text.endswith(", images 0 to 9") for text in told) == 7


def test_another_order_of_the_budgets_is_another_evaluation(job, tmp_path):
    evaluate(job.evaluation(), tmp_path / "out")
    with pytest.raises(ValueError, match=r"attacks\[0\].curve was falling and is now rising"):
        evaluate(job.evaluation(falling=False), tmp_path / "out", resume=True)
    with pytest.raises(TypeError, match="falling must be True or False, got 1"):
        job.evaluation(falling=1)


# Which attacks fall


def test_what_searches_the_model_itself_can_fall(job):
    surrogate = Surrogate(Victim(job.BrighterHalf().eval()), "tests:surrogate")
    two = (0.1, 0.2)
    fall = [Curve(PGD(), two), Curve(APGD(), two), Curve(Square(), two), Curve(AutoAttack(), two)]
    assert all(curve.can_fall for curve in [*fall, Curve(FrequencyAttack(), (10.0, 20.0))])
    rise = [Curve(FGSM(), two), Curve(PGD(steps=1), two), Curve(Square(queries=1), two), Curve(RandomNoise(), two)]
    assert not any(curve.can_fall for curve in [*rise, Curve(PGD(), two, surrogate=surrogate), Curve(PGD(), (0.1,))])


def guarded(job):
    """Several labels, so that the logits have one column more than there are labels."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(256, 8), nn.Tanh(), nn.Linear(8, 3)).eval()
    victim = Victim(net, task="multilabel")
    images = torch.from_numpy(job.halves(40).images)
    with torch.no_grad():
        targets = victim.task.predict(victim(images))
    detector = GaussianDetector.fit(victim, "2", images[:20], targets[:20, 0], images[20:])
    return GuardedVictim(victim, detector), images, targets


def test_a_large_budget_is_more_easily_detected_so_that_guarded_victims_rise(job):
    victim, images, targets = guarded(job)
    attack, budgets = PGD(steps=5, objective=Undetected()), (0.01, 0.05, 0.2)
    rising, falling = (
        budget_curve(attack, budgets, victim, images, targets, falling=falling) for falling in (False, True)
    )
    assert rising[0].success.sum() > 0
    assert falling[0].success.sum() == 0
    data = ImageSet(images.numpy(), targets.numpy(), tuple(map(str, range(40))), ("a", "b", "c"))
    evaluation = Evaluation(victim, "x", data, "y", (Curve(attack, budgets),))
    assert evaluation.kind_of(evaluation.curves[0]) == "rising"


def test_what_was_not_attacked_has_the_margin_of_a_guarded_victim(job):
    victim, images, targets = guarded(job)
    result = budget_curve(PGD(steps=5, objective=Undetected()), (0.01, 0.2), victim, images, targets, falling=True)[0]
    untouched = result.robust & (result.forwards == 0)
    with torch.no_grad():
        assert torch.equal(result.loss[untouched], Undetected()(victim(images), targets)[untouched])
    assert untouched.any()


# What is taken for granted


class Startled(nn.Module):
    """Loses its gradient where an image is rough, as random starts within a large budget are."""

    def __init__(self, roughness):
        super().__init__()
        self.roughness = roughness

    def forward(self, images):
        rough = images.diff(dim=-1).abs().mean(dim=(1, 2, 3), keepdim=True) > self.roughness
        return torch.where(rough, images.detach(), images)


STARTLED = (0.02, 0.06, 0.4)


def startled(job, **options):
    data = job.halves()
    smooth = np.repeat(data.images[..., ::8], 8, axis=-1).mean(axis=2, keepdims=True).repeat(16, axis=2)
    data = type(data)(smooth.astype(np.float32), data.labels, data.names, data.class_names)
    curves = [Curve(PGD(steps=10), STARTLED)]
    return job.evaluation(job.BrighterHalf(edge=Startled(0.06)), data, curves, **options)


def test_what_does_not_hold_raises_the_flag(job, tmp_path):
    """The attack is blind in the largest budget and sees in the smaller ones, so that images withstand it alone."""
    found = {falling: evaluate(startled(job, falling=falling), tmp_path / str(falling)) for falling in (False, True)}
    counts = {
        falling: [int((rows_of(store, "pgd", budget)["status"] == "success").sum()) for budget in STARTLED]
        for falling, store in found.items()
    }
    assert counts[False][1] > counts[True][1] + 5
    checks = {falling: outcomes(store) for falling, store in found.items()}
    assert checks[False]["C8"][0] == "passed"
    assert checks[True]["C8"][0] == "failed"
    assert "taken for granted" not in checks[False]["C8"][1]
    assert "an image which withstands one is taken to withstand the smaller ones" in checks[True]["C8"][1]


def test_in_a_sound_evaluation_it_holds_and_is_said(job, tmp_path):
    checks = outcomes(evaluate(job.evaluation(), tmp_path / "out"))
    assert checks["C8"][0] == checks["C9"][0] == "passed"
    assert checks["C8"][1].count("tried after all on") == 2
    assert checks["C8"][1].count("it breaks 0") == 2
    assert checks["C9"][1].count("because they withstand a larger one") == 2
    rising = outcomes(evaluate(job.evaluation(falling=False), tmp_path / "rising"))
    assert "tried" not in rising["C8"][1]
    assert "larger one" not in rising["C9"][1]


STATUSES = {0.01: "ffffs", 0.03: "fffss", 0.1: "ffsss", 0.3: "fssss"}


def forged(folder, curve="falling"):
    """Five images that break at four, three, two budgets, ... and budgets that fall."""
    words = {"f": "failed", "s": "success"}
    store = Store.create(folder / "forged", {})
    for budget, statuses in STATUSES.items():
        fields = {"attack": "pgd", "budget": budget, "curve": curve}
        columns = {"example": np.arange(5), "status": [words[each] for each in statuses]}
        store.commit(Unit("attack", fields), columns)
    return store


class Recorded:
    """A sample that notes what it was attacked with."""

    def __init__(self, ids, breaks):
        self.ids = torch.tensor(ids)
        self.breaks = breaks
        self.seen = {}

    def attack(self, attack, rows):
        for row in rows.tolist():
            assert row not in self.seen
            self.seen[row] = attack.budget
        broken = torch.tensor([int(self.ids[row]) in self.breaks for row in rows.tolist()])
        return type("Result", (), {"success": broken})


def test_rows_that_were_not_attacked_are_those_that_withstood_the_next_larger_budget(tmp_path):
    store, sample = forged(tmp_path), Recorded([0, 2, 3, 4, 1], set())
    granted = granted_rows(Curve(PGD(), tuple(STATUSES)), store, sample)
    assert [rows.tolist() for rows in granted] == [[0, 1, 4], [0, 4], [0], []]


def test_each_image_is_tried_once_and_the_budgets_in_turn(tmp_path):
    store, sample = forged(tmp_path), Recorded([0, 2, 3, 4, 1], {2, 3})
    granted = tried_after_all(Curve(PGD(), tuple(STATUSES)), store, sample)
    # Row 0 has three budgets to choose from, row 1 one, row 4 two.
    assert sample.seen == {0: 0.01, 1: 0.01, 4: 0.01}
    assert granted == Granted("pgd", 3, 1)
    other = Recorded([1, 0], set())
    tried_after_all(Curve(PGD(), tuple(STATUSES)), store, other)
    assert other.seen == {0: 0.01, 1: 0.03}


@pytest.mark.parametrize(("broken", "outcome"), [(0, "passed"), (1, "passed"), (2, "failed")])
def test_a_twentieth_of_the_sample_may_be_an_exception(tmp_path, broken, outcome):
    finding = result_checks.falling(forged(tmp_path), (), [Granted("pgd", 15, broken)], images=20)
    assert finding.outcome == outcome
    assert f"on 15 images, at one of those budgets each, it breaks {broken}." in finding.sentence


def test_images_that_the_attack_breaks_though_they_were_taken_to_withstand_it(job):
    evaluation = job.evaluation()
    rows = evaluation.victim.correct(evaluation.logits, evaluation.targets).nonzero().flatten()
    given = evaluation.images[rows], evaluation.targets[rows], rows, evaluation.logits[rows]
    sample = Sample(evaluation.victim, *given, 0)
    attack = PGD(0.03, steps=20)
    result = sample.attack(attack)
    broken, whole = result.success.nonzero().flatten(), result.robust.nonzero().flatten()
    sound = attack_checks.converged([Probe(attack, result, whole)], sample)
    assert sound.outcome == "passed"
    assert f"({len(whole)} images were taken to withstand" in sound.sentence
    wrong = attack_checks.converged([Probe(attack, result, torch.cat([whole, broken[:2]]))], sample)
    assert wrong.outcome == "failed"
    assert "2 of them break" in wrong.sentence


def test_nothing_is_taken_for_granted_where_all_is_attacked(job, tmp_path):
    evaluation = Evaluation(
        Victim(job.BrighterHalf().eval()), "x", job.halves(), "y", (Curve(FGSM(), (0.01, 0.1)),), seed=1
    )
    store = evaluate(evaluation, tmp_path / "out")
    assert "tried" not in outcomes(store)["C8"][1]
    assert set(store.query(SQL, "attack")["curve"]) == {"rising"}
