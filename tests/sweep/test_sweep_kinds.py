"""Attacks that look for the smallest change, transferred attacks, findings and volumes in an evaluation."""

import numpy as np
import pytest
import torch
from torch import nn

from medadv.attacks import (
    APGD,
    DDN,
    FAB,
    FGSM,
    FMN,
    PGD,
    ADef,
    AutoAttack,
    CarliniWagner,
    DeepFool,
    HopSkipJump,
    Square,
    transfer,
)
from medadv.data import ImageSet
from medadv.models import Victim
from medadv.objectives import Margin
from medadv.sweep import evaluate as evaluate_module
from medadv.sweep.curve import Curve, Surrogate
from medadv.sweep.device_images import DeviceImages
from medadv.sweep.evaluate import evaluate
from medadv.sweep.plan import Evaluation
from medadv.sweep.rows import blank_rows, read_off, rows_of

BUDGETS = (0.2, 0.6, 1.5)
SQL = "SELECT * FROM rows JOIN units USING (unit) ORDER BY attack, budget, example"


def smallest(job, **options):
    curves = (Curve(DDN(steps=15), BUDGETS), Curve(HopSkipJump(steps=1, probes=10), BUDGETS))
    return job.evaluation(curves=curves, **options)


def outcomes(store):
    checks = store.query('SELECT "check", outcome, sentence FROM rows', "check")
    return {row[0]: row[1:] for row in zip(*checks.values(), strict=True)}


# The smallest change


def test_a_search_is_the_attack_itself_and_budgets_are_what_it_says(job, tmp_path):
    evaluation = smallest(job)
    store = evaluate(evaluation, tmp_path / "out")
    for curve in evaluation.curves:
        images, targets = torch.from_numpy(evaluation.data.images), evaluation.targets
        result = curve.attack.run(evaluation.victim, images, targets, None, evaluation.logits, clean_forwards=1)
        names = {"search": ("status", "distance", "forwards", "backwards"), "attack": ("status",)}
        found = store.query(
            f"SELECT * FROM rows JOIN units USING (unit) WHERE attack = '{curve.label}' ORDER BY example", "search"
        )
        expected = rows_of(result, evaluation.data.class_names)
        for name in names["search"]:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
        for budget in BUDGETS:
            rows = store.query(
                f"SELECT * FROM rows JOIN units USING (unit) WHERE attack = '{curve.label}' AND budget = {budget} "
                "ORDER BY example",
                "attack",
            )
            within = result.success_within(budget).numpy()
            assert ((rows["status"] == "success") == within).all()
            assert np.isclose((rows["status"] == "failed").mean(), result.robust_accuracy_within(budget))
            assert (rows["forwards"] == found["forwards"]).all()


def test_reading_off_asks_the_model_nothing(job, tmp_path):
    module = job.BrighterHalf()
    curves = (Curve(DDN(steps=15), (0.2,)),)
    few = job.evaluation(module, curves=curves)
    evaluate(few, tmp_path / "few")
    shown = module.shown
    module.shown = 0
    evaluate(job.evaluation(module, curves=(Curve(DDN(steps=15), tuple(np.linspace(0.1, 2, 30))),)), tmp_path / "many")
    assert module.shown == shown


@pytest.mark.parametrize("batch_size", [1, 7])
def test_batches_do_not_matter(job, tmp_path, batch_size):
    whole = evaluate(smallest(job), tmp_path / "whole").query(SQL, "attack")
    parts = evaluate(smallest(job), tmp_path / "parts", batch_size=batch_size).query(SQL, "attack")
    for name in ("status", "prediction", "forwards", "step"):
        assert whole[name].tolist() == parts[name].tolist(), name


class Watched(nn.Module):
    """Notes how many images it is shown at once."""

    def __init__(self, module):
        super().__init__()
        self.module = module
        self.counts = []

    def forward(self, images):
        self.counts.append(len(images))
        return self.module(images)


LONG = {
    "deepfool": (DeepFool(steps=4), BUDGETS),
    "fab": (FAB("l2", targeted=True, steps=4, restarts=2), BUDGETS),
    "ddn": (DDN(steps=10), BUDGETS),
    "fmn": (FMN("l2", steps=10), BUDGETS),
    "carlini-wagner": (CarliniWagner(searches=2, steps=10), BUDGETS),
    "hop-skip-jump": (HopSkipJump(steps=1, probes=5), BUDGETS),
    "adef": (ADef(steps=3), BUDGETS),
    "auto-attack": (AutoAttack(), (0.2, 0.3)),
}


@pytest.mark.parametrize("name", LONG)
def test_an_attack_is_given_eight_batches_and_can_be_stopped_after_each_that_the_model_is_shown(
    job, tmp_path, monkeypatch, name
):
    monkeypatch.setattr("medadv.sweep.progress._SECONDS_OF_SILENCE", 0.0)
    module = Watched(job.BrighterHalf())
    attack, budgets = LONG[name]
    evaluation = job.evaluation(module, curves=(Curve(attack, budgets),), shard_size=24)

    def told_until(last):
        told = []

        def progress(now):
            told.append((now, len(module.counts)))
            if last(told):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            evaluate(evaluation, tmp_path / str(len(module.counts)), batch_size=3, progress=progress)
        return told

    told = told_until(lambda told: told[-1][0].done >= 1)
    before, end = told[0][1], told[-1][1]
    assert {now.doing.split(",")[-1] for now, _ in told[:-1]} == {" images 0 to 23"}
    # It tells how far the attack is, and the first unit is done only when the attack is.
    done = [now.done for now, _ in told[:-1]]
    assert done[0] == 0
    assert done == sorted(done)
    assert done[-1] < 1
    assert [batches for _, batches in told[:-1]] == list(range(before, end + 1))
    assert max(module.counts[before:end]) == 3
    assert end - before > 24 / 3
    middle = (end - before) // 2
    stopped = told_until(lambda told: len(told) > middle)
    assert len(module.counts) - stopped[0][1] == middle


def test_what_is_beyond_the_budget_stays_clean(job, tmp_path):
    evaluation = smallest(job)
    store = evaluate(evaluation, tmp_path / "out")
    seen = set()
    for receipt in store.receipts("attack"):
        panels, budget = store.artifacts(receipt.unit.id), receipt.unit.fields["budget"]
        rows = store.query(f"SELECT * FROM rows WHERE unit = '{receipt.unit.id}' ORDER BY example", "attack")
        for place, example in enumerate(panels["examples"]):
            row = np.flatnonzero(rows["example"] == example)[0]
            change = panels["adversarial"][place].astype(np.float64) - panels["clean"][place]
            assert np.linalg.norm(change) <= budget
            assert (np.abs(change).max() > 0) == (rows["status"][row] == "success")
            assert np.isclose(np.linalg.norm(change), rows["distance"][row])
            seen.add(str(rows["status"][row]))
    assert seen == {"success", "failed"}


def test_margins_of_what_is_beyond_are_those_of_the_clean_images(job, tmp_path):
    evaluation = smallest(job)
    rows = evaluate(evaluation, tmp_path / "out").query(SQL, "attack")
    margins = Margin()(evaluation.logits, evaluation.targets).numpy()
    beyond = rows["status"] == "failed"
    np.testing.assert_array_equal(rows["loss"][beyond], margins[rows["example"][beyond]])


@pytest.mark.parametrize("stop_after", [1, 4, 8])
def test_stopped_anywhere_and_continued(job, tmp_path, stop_after):
    whole = evaluate(smallest(job), tmp_path / "whole").query(SQL, "attack") if stop_after == 1 else None
    calls = []

    def stop(progress):
        calls.append(progress)
        if len(calls) == stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(smallest(job), tmp_path / "out", progress=stop)
    store = evaluate(smallest(job), tmp_path / "out", resume=True)
    assert store.done() == set(store.plan["units"])
    if whole is not None:
        again = store.query(SQL, "attack")
        assert all(whole[name].tolist() == again[name].tolist() for name in set(whole) - {"host", "committed"})


def test_a_crash_between_a_search_and_its_budgets(job, tmp_path, monkeypatch):
    whole = evaluate(smallest(job), tmp_path / "whole").query(SQL, "attack")
    real, calls = read_off, []

    def fails(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise MemoryError
        return real(*arguments)

    monkeypatch.setattr(evaluate_module, "read_off", fails)
    with pytest.raises(MemoryError):
        evaluate(smallest(job), tmp_path / "out")
    monkeypatch.setattr(evaluate_module, "read_off", real)
    module = job.BrighterHalf()
    store = evaluate(smallest(job, module=module), tmp_path / "out", resume=True)
    again = store.query(SQL, "attack")
    assert all(whole[name].tolist() == again[name].tolist() for name in set(whole) - {"host", "committed"})


def test_checks_that_need_gradient_attacks_say_that_there_is_none(job, tmp_path):
    found = outcomes(evaluate(smallest(job), tmp_path / "out"))
    for check in ("C3", "C7", "C9", "C13", "C14", "C15"):
        assert found[check][0] == "not run"
    for check in ("C1", "C2", "C8", "C10", "C11", "C19", "C20"):
        assert found[check][0] == "passed", found[check]


def test_a_find_beyond_its_budget_is_seen_by_a_check(job, tmp_path, monkeypatch):
    curves = (Curve(PGD(steps=2), (0.01, 0.05)), Curve(DDN(steps=15), (0.2, 0.6)))
    assert outcomes(evaluate(job.evaluation(curves=curves), tmp_path / "sound"))["C12"][0] == "passed"
    monkeypatch.setattr(evaluate_module, "panels_within", lambda panels, examples: panels)
    assert outcomes(evaluate(job.evaluation(curves=curves), tmp_path / "out"))["C12"][0] == "failed"


def test_read_off_is_monotone_and_exact():
    draw = np.random.default_rng(0)
    data = ImageSet(np.zeros((50, 1, 2, 2), np.float32), np.arange(50) % 2, tuple(map(str, range(50))), ("a", "b"))
    found = blank_rows(data, np.arange(50))
    found["status"] = draw.choice(np.array(["success", "failed", "already wrong"], object), 50)
    found["distance"] = np.where(found["status"] == "success", draw.integers(1, 5, 50) / 8, 0.0)
    before = np.zeros(50, bool)
    for budget in (0.0, 0.125, 0.25, 0.3, 0.375, 0.5):
        rows = read_off(found, budget, np.full(50, -1, np.float32))
        success = rows["status"] == "success"
        assert (success == ((found["status"] == "success") & (found["distance"] <= budget))).all()
        assert (success >= before).all()
        assert ((rows["status"] == "already wrong") == (found["status"] == "already wrong")).all()
        assert {name: values.dtype for name, values in rows.items()} == {
            name: values.dtype for name, values in found.items()
        }
        before = success


# Other models and attacks without gradients


def test_a_transferred_attack_is_the_function(job, tmp_path):
    surrogate = Surrogate(Victim(job.BrighterHalf(scale=3.0, edge=nn.AvgPool2d(3, 1, 1)).eval()), "tests:surrogate")
    curve = Curve(FGSM(), (0.02, 0.06), "transfer-fgsm", surrogate)
    evaluation = job.evaluation(curves=(curve, Curve(FGSM(), (0.06,))))
    store = evaluate(evaluation, tmp_path / "out")
    images = torch.from_numpy(evaluation.data.images)
    ids = torch.arange(len(images))
    expected = transfer(FGSM(0.02, seed=3), surrogate.victim, evaluation.victim, images, evaluation.targets, ids)
    rows = store.query(
        "SELECT * FROM rows JOIN units USING (unit) WHERE attack = 'transfer-fgsm' AND budget = 0.02 ORDER BY example",
        "attack",
    )
    for name, values in rows_of(expected, evaluation.data.class_names).items():
        assert rows[name].tolist() == values.tolist(), name
    made_on = {
        receipt.unit.fields["attack"]: receipt.unit.fields["configuration"].get("surrogate")
        for receipt in store.receipts("attack")
    }
    assert made_on == {"transfer-fgsm": "tests:surrogate", "fgsm": None}


def test_images_that_fool_the_surrogate_make_room_for_those_of_other_batches(job, tmp_path, monkeypatch):
    """Of eight batches of three that are attacked together, and stopping is possible after each that is shown."""
    monkeypatch.setattr("medadv.sweep.progress._SECONDS_OF_SILENCE", 0.0)
    module = Watched(job.BrighterHalf(scale=3.0, edge=nn.AvgPool2d(3, 1, 1))).eval()
    curve = Curve(PGD(steps=10), (0.05, 0.06), "transfer-pgd", Surrogate(Victim(module), "tests:surrogate"))
    evaluation = job.evaluation(curves=(curve,), shard_size=24)
    told = []

    def until_the_attack_ends(now):
        if not told:
            module.counts.clear()  # of the trial before there is a store
        told.append((now, len(module.counts)))
        if now.done >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(evaluation, tmp_path / "few", batch_size=3, progress=until_the_attack_ends)
    clean, *counts = module.counts
    assert clean == 24  # once for both budgets
    assert max(counts) == 3
    done = [now.done for now, _ in told]
    assert len(told) > len(counts)  # the victim's batches beside
    assert done == sorted(done)
    assert len(set(done)) > 5
    surrogate, images = curve.surrogate.victim, torch.from_numpy(evaluation.data.images)
    correct = evaluation.victim.correct(evaluation.logits, evaluation.targets).nonzero().flatten()
    logits = surrogate.clean_logits(images, evaluation.targets)
    module.counts.clear()
    for rows in correct.split(3):
        evaluation.curves[0].attacks[0].run(surrogate, images[rows], evaluation.targets[rows], rows, logits[rows])
    packed = counts[: next(shown for now, shown in told if now.done >= 1) - 1]  # at the first budget
    assert sum(packed) == sum(module.counts)
    assert len(packed) < len(module.counts)
    parts, whole = (
        evaluate(evaluation, tmp_path / str(size), batch_size=size).query(SQL, "attack") for size in (3, 24)
    )
    for name in ("status", "prediction", "loss", "distance", "forwards", "step"):
        assert parts[name].tolist() == whole[name].tolist(), name
    assert 0 < (parts["status"] == "success").sum() < len(parts["status"])


def test_a_surrogate_is_part_of_the_name_of_a_unit(job):
    def unit(scale):
        surrogate = Surrogate(Victim(job.BrighterHalf(scale=scale).eval()), "tests:surrogate")
        evaluation = job.evaluation(curves=(Curve(PGD(), (0.02,), surrogate=surrogate),))
        return evaluation.units()[0].id

    assert unit(3.0) == unit(3.0)
    assert unit(3.0) != unit(4.0)


def test_black_box_attacks_may_break_nothing(job, tmp_path):
    curves = (Curve(Square(queries=2), (1e-4, 1e-3)), Curve(PGD(steps=3), (0.01, 0.1)))
    assert outcomes(evaluate(job.evaluation(curves=curves), tmp_path / "out"))["C8"][0] == "passed"
    curves = (Curve(PGD(steps=3), (1e-6, 1e-5)),)
    assert outcomes(evaluate(job.evaluation(curves=curves), tmp_path / "weak"))["C8"][0] == "failed"


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda job: Curve(DDN(), (0.5, 0.2)), ValueError, "budgets of ddn must rise"),
        (lambda job: Curve(DDN(), ()), ValueError, "budgets of ddn must not be empty"),
        (lambda job: Curve(DDN(), (-0.1,)), ValueError, "budget must be at least 0"),
        (lambda job: Curve(DDN(), ("0.1",)), TypeError, "budget must be a number"),
        (lambda job: Curve(DDN(), (0.1,), "x", Surrogate(None, "y")), ValueError, "surrogate must be None for x"),
        (
            lambda job: job.evaluation(curves=(Curve(PGD(), (0.1,), "a"), Curve(DDN(), (0.1,), "a"))),
            ValueError,
            "got a more than once",
        ),
    ],
)
def test_wrong_curves(job, make, error, words):
    with pytest.raises(error, match=words):
        make(job)


def test_the_trial_before_the_store_is_short():
    assert Curve(AutoAttack(norm="l2"), (0.1,)).shortest() == APGD(0.1, "l2", steps=1, stop_early=False)
    assert Curve(DeepFool(), (0.1,)).shortest().steps == 1
    assert Curve(Square(), (0.1, 0.2)).shortest() == Square(0.2, queries=1)
    assert Curve(PGD(restarts=5), (0.1,)).shortest() == PGD(0.1, steps=1, stop_early=False)


# Findings and volumes


class BrightColumns(nn.Module):
    """One finding per quarter of the columns, of images and of volumes."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(20.0, dtype=torch.float64))

    def forward(self, images):
        quarters = images.flatten(1, -2).mean(dim=1).reshape(len(images), 4, -1).mean(dim=2)
        return (quarters - 0.45) * self.scale


def findings(count=20):
    draw = np.random.default_rng(0)
    labels = (draw.random((count, 4)) < 0.4).astype(np.int64)
    images = draw.uniform(0.3, 0.5, (count, 1, 4, 4, 16)) + 0.2 * labels.repeat(4, axis=1)[:, None, None, None]
    names = tuple(f"{number}.nii" for number in range(count))
    return ImageSet(images.astype(np.float32), labels, names, ("Mass", "Edema", "Hernia", "Nodule"))


def test_findings_of_volumes(tmp_path):
    data = findings()
    curves = (Curve(PGD(steps=3), (0.02, 0.1)), Curve(HopSkipJump(steps=1, probes=10), (0.5, 3.0)))
    victim = Victim(BrightColumns().eval(), task="multilabel")
    evaluation = Evaluation(victim, "tests:model", data, "tests", curves, batch_size=6)
    store = evaluate(evaluation, tmp_path / "out")
    rows = store.query(SQL, "attack")
    texts = ["|".join(np.array(data.class_names)[row == 1]) or "No Finding" for row in data.labels]
    assert rows["label"][:20].tolist() == texts
    right = rows["clean_prediction"] == rows["label"]
    assert (right == (rows["status"] != "already wrong")).all()
    assert ((rows["prediction"] != rows["label"]) == (rows["status"] != "failed")).all()
    assert (rows["status"] == "success").any()
    result = PGD(0.1, steps=3)(victim, torch.from_numpy(data.images), torch.from_numpy(data.labels))
    for receipt in store.receipts("attack"):
        fields = receipt.unit.fields
        panels = store.artifacts(receipt.unit.id)
        assert panels["clean"].shape[1:] == (1, 4, 16)
        for place, example in enumerate(panels["examples"]):
            chosen = panels["slices"][place]
            np.testing.assert_array_equal(panels["clean"][place], data.images[example][:, chosen])
            if (fields["attack"], fields["budget"]) == ("pgd", 0.1) and result.success[example]:
                change = np.abs(result.images[example].numpy() - data.images[example]).sum(axis=(0, 2, 3))
                assert change[chosen] >= change.max() * (1 - 1e-6)
    found = outcomes(store)
    assert [name for name, (outcome, _) in found.items() if outcome == "failed"] == []


def test_the_middle_slice_of_those_that_changed_alike():
    change = torch.ones(3, 1, 5, 2, 2)
    change[1, 0, 4] = 2
    change[2] = 0
    from medadv.sweep.panels import _most_changed

    assert _most_changed(change).tolist() == [2, 4, 2]
    assert _most_changed(change[:, :, 0]).tolist() == [-1, -1, -1]


def test_data_of_another_range_is_refused(job):
    data = job.halves()
    with pytest.raises(ValueError, match=r"data must have the bounds of the victim, \(-1024.0, 3071.0\), got"):
        Evaluation(Victim(job.BrighterHalf().eval(), bounds=(-1024, 3071)), "x", data, "y", (Curve(PGD(), (0.1,)),))


def test_what_the_victim_does_to_images_is_part_of_the_name_of_a_unit(job):
    def unit(**options):
        victim = Victim(job.BrighterHalf().eval(), **options)
        return Evaluation(victim, "x", job.halves(), "y", (Curve(PGD(), (0.1,)),)).units()[0].id

    assert len({unit(), unit(mean=0.5), unit(std=0.5), unit(task="binary")}) == 4


def test_images_stay_where_they_are_until_they_are_asked_for():
    array = np.arange(5 * 4, dtype=np.float32).reshape(5, 1, 2, 2)
    images = DeviceImages(array, torch.device("cpu"))
    assert len(images) == 5
    assert torch.equal(images[torch.tensor([3, 0])], torch.from_numpy(array[[3, 0]]))
    parts = list(images.parts(2))
    assert [len(part) for part in parts] == [2, 2, 1]
    assert torch.equal(torch.cat(parts), torch.from_numpy(array))
    part = images[1:3]
    part += 1  # what is done to a part is not done to the images
    assert array[1, 0, 0, 0] == 4
