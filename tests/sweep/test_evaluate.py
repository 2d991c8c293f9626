"""Running an evaluation: the rows are those of the attacks, whatever stops it in between."""

import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from support.memory import tensors_in_circles

import medadv
from medadv.attacks import PGD, Status, budget_curve
from medadv.data import ImageSet
from medadv.models import model_sha256
from medadv.sweep import Store, StoreExists, result_checks
from medadv.sweep.circumstances import told_apart
from medadv.sweep.evaluate import PlanDiffers, evaluate
from medadv.sweep.plan import Curve, Evaluation
from medadv.sweep.sealed_json import seal, unseal

ROOT = Path(__file__).resolve().parents[2]


def contents(store):
    """Every row of every unit, every artifact, and the unit's fields."""
    found = {}
    for receipt in store.receipts():
        table = store.query(f"SELECT * FROM rows WHERE unit = '{receipt.unit.id}'", kind=receipt.unit.kind)
        rows = {name: values.tolist() for name, values in table.items()}
        images = {name: values.tobytes() for name, values in store.artifacts(receipt.unit.id).items()}
        found[receipt.unit.id] = (receipt.unit.fields, rows, images)
    return found


def test_rows_are_those_of_the_rising_budget_curve(job, tmp_path):
    evaluation = job.evaluation(falling=False)
    store = evaluate(evaluation, tmp_path / "out")
    for curve in evaluation.curves:
        for shard, (first, last) in enumerate(evaluation.shards):
            part = slice(first, last + 1)
            results = budget_curve(
                curve.attack,
                curve.budgets,
                evaluation.victim,
                evaluation.images[part],
                evaluation.targets[part],
                torch.arange(first, last + 1),
            )
            for step, result in enumerate(results):
                unit = evaluation.attack_unit(curve, step, shard)
                rows = store.query(f"SELECT * FROM rows WHERE unit = '{unit.id}' ORDER BY example", kind="attack")
                assert rows["example"].tolist() == list(range(first, last + 1))
                assert rows["label"].tolist() == evaluation.data.labels[part].tolist()
                assert rows["name"].tolist() == list(evaluation.data.names[part])
                assert rows["status"].tolist() == [str(Status(value)) for value in result.status.tolist()]
                for column, values in {
                    "clean_prediction": result.clean_predictions,
                    "prediction": result.predictions,
                    "loss": result.loss,
                    "distance": result.distance,
                    "step": result.step,
                    "forwards": result.forwards,
                    "backwards": result.backwards,
                }.items():
                    np.testing.assert_array_equal(rows[column], values.numpy(), err_msg=column)


def test_the_data_tries_every_case(job, tmp_path):
    """So that the comparisons in this file compare something."""
    store = evaluate(job.evaluation(), tmp_path / "out")
    for attack in ("pgd", "bias-field"):
        counts = store.query(
            "SELECT budget, count_if(status = 'success') AS broken FROM rows JOIN units USING (unit) "
            f"WHERE attack = '{attack}' GROUP BY budget ORDER BY budget",
            kind="attack",
        )["broken"].tolist()
        assert 0 < counts[0] < counts[1] < counts[2]
    statuses = store.query("SELECT DISTINCT status FROM rows", kind="attack")["status"].tolist()
    assert sorted(statuses) == ["already wrong", "failed", "success"]


def test_the_plan_lists_what_was_done(job, tmp_path):
    evaluation = job.evaluation()
    store = evaluate(evaluation, tmp_path / "out")
    plan = store.plan
    assert set(plan["units"]) == store.done()
    assert len(plan["units"]) == 2 * 3 * 3 + 1
    assert plan["shards"] == [[0, 9], [10, 19], [20, 23]]
    assert plan["model"] == {
        "source": "tests:model",
        "sha256": model_sha256(evaluation.victim.module),
        **evaluation.victim.configuration(),
    }
    assert plan["data"]["sha256"] == evaluation.data.sha256
    assert plan["data"]["shape"] == [1, 16, 16]
    assert [(entry["name"], entry["budgets"]) for entry in plan["attacks"]] == [
        ("pgd", list(job.NOISE)),
        ("bias-field", list(job.GAINS)),
    ]
    assert plan["attacks"][0]["configuration"]["seed"] == plan["seed"] == 3
    assert plan["versions"]["torch"] == torch.__version__
    assert plan["medadv"] == medadv.__version__
    assert store.verify() == []


def test_an_image_that_is_broken_is_not_shown_again(job, tmp_path):
    evaluation = job.evaluation(falling=False)
    store = evaluate(evaluation, tmp_path / "out")
    rows = store.query("SELECT attack, budget, example, status, forwards FROM rows JOIN units USING (unit)", "attack")
    broken = {}
    for attack, budget, example, status, forwards in sorted(zip(*rows.values(), strict=True)):
        if (attack, example) in broken:
            assert (status, forwards) == broken[attack, example], budget
        elif status == "success":
            broken[attack, example] = (status, forwards)
    assert broken


@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_batch_size_changes_nothing_but_rounding(job, tmp_path, batch_size):
    whole = evaluate(job.evaluation(), tmp_path / "whole")
    parts = evaluate(job.evaluation(), tmp_path / "parts", batch_size=batch_size)
    assert whole.plan["units"] == parts.plan["units"]
    for kind, columns in (("attack", "unit, example, prediction, status, step, forwards, backwards, round(loss, 4)"),):
        sql = f"SELECT {columns} FROM rows ORDER BY unit, example"
        one, other = whole.query(sql, kind), parts.query(sql, kind)
        for name in one:
            assert one[name].tolist() == other[name].tolist(), name


# Stopping


@pytest.fixture(scope="module")
def whole(evaluation_of_tests, tmp_path_factory):
    """What an evaluation that nobody stops stores."""
    return contents(evaluate(evaluation_of_tests(), tmp_path_factory.mktemp("whole") / "out", batch_size=5))


def stopping(after, error):
    calls = []

    def progress(now):
        calls.append(now)
        if len(calls) == after:
            raise error

    return progress


@pytest.mark.parametrize("after", [2, 20])
def test_rising_budgets_interrupted_and_continued_give_the_same(job, tmp_path, after):
    whole = contents(evaluate(job.evaluation(falling=False), tmp_path / "whole", batch_size=5))
    with pytest.raises(KeyboardInterrupt):
        evaluate(
            job.evaluation(falling=False), tmp_path / "out", batch_size=5, progress=stopping(after, KeyboardInterrupt())
        )
    assert contents(evaluate(job.evaluation(falling=False), tmp_path / "out", batch_size=5, resume=True)) == whole


@pytest.mark.parametrize("after", [1, 3, 12, 20, 36])
def test_interrupted_at_any_batch_and_continued_gives_the_same(job, tmp_path, whole, after):
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        evaluate(job.evaluation(), out, batch_size=5, progress=stopping(after, KeyboardInterrupt()))
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert Store.open(out).verify() == []
    resumed = evaluate(job.evaluation(), out, batch_size=5, resume=True)
    assert contents(resumed) == whole
    assert resumed.verify() == []
    for path, content in before.items():
        assert path.read_bytes() == content


def test_an_attack_that_takes_long_can_be_stopped_in_the_middle(job, tmp_path, whole, monkeypatch):
    monkeypatch.setattr("medadv.sweep.progress._SECONDS_OF_SILENCE", 0.0)
    seen = []
    evaluate(job.evaluation(), tmp_path / "told", batch_size=2, progress=seen.append)
    repeated = [first == second for first, second in pairwise(seen)]
    assert sum(repeated) > 100
    middle = len(seen) // 3
    assert repeated[middle]
    with pytest.raises(KeyboardInterrupt):
        evaluate(job.evaluation(), tmp_path / "out", batch_size=2, progress=stopping(middle, KeyboardInterrupt()))
    assert contents(evaluate(job.evaluation(), tmp_path / "out", batch_size=2, resume=True)) == whole


KILLED = """
import os, signal, sys
sys.path.insert(0, {folder!r})
import conftest
from medadv.sweep.evaluate import evaluate

calls = []

def progress(now):
    calls.append(now)
    if len(calls) == {after}:
        os.kill(os.getpid(), signal.SIGKILL)

evaluate(conftest.evaluation(), {out!r}, batch_size=5, progress=progress)
"""


@pytest.mark.parametrize("after", [9, 24])
def test_killed_and_continued_gives_the_same(job, tmp_path, whole, after):
    out = tmp_path / "out"
    code = KILLED.format(folder=str(Path(__file__).parent), after=after, out=str(out))
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120, capture_output=True, check=False)
    assert process.returncode == -signal.SIGKILL, process.stderr
    done = Store.open(out).done()
    assert 0 < len(done) < len(whole)
    model = job.BrighterHalf()
    resumed = evaluate(job.evaluation(model), out, batch_size=5, resume=True)
    assert contents(resumed) == whole
    fresh = job.BrighterHalf()
    evaluate(job.evaluation(fresh), tmp_path / "again", batch_size=5)
    assert model.shown < fresh.shown


def test_a_complete_evaluation_is_not_done_again(job, tmp_path):
    evaluate(job.evaluation(), tmp_path / "out")
    model = job.BrighterHalf()
    evaluation = job.evaluation(model)
    seen = []
    evaluate(evaluation, tmp_path / "out", resume=True, progress=seen.append)
    assert model.shown == 24 + 2 * 8 * 2  # the clean images, and one step of each attack on eight of them
    assert [now.done for now in seen] == [19]


def test_progress_rises_from_nothing_to_all(job, tmp_path):
    seen = []
    evaluate(job.evaluation(shard_size=24), tmp_path / "out", batch_size=1, progress=seen.append)
    done = [now.done for now in seen]
    assert done[0] == 0
    assert done == sorted(done)
    assert done[-1] == seen[-1].total == 7
    assert any(number != int(number) for number in done[:20])


@pytest.mark.parametrize("falling", [False, True])
def test_progress_moves_while_one_attack_works(job, tmp_path, monkeypatch, falling):
    """One unit of all images, one attack of eight steps that nothing ends early: an eighth at a time."""
    monkeypatch.setattr("medadv.sweep.progress._SECONDS_OF_SILENCE", 0.0)
    curve = Curve(PGD(steps=8, stop_early=False), (1e-5, 1e-4))  # too small to break anything
    seen = []
    evaluation = job.evaluation(curves=[curve], shard_size=24, falling=falling)
    evaluate(evaluation, tmp_path / "out", batch_size=24, progress=seen.append)
    done = [now.done for now in seen if now.doing.startswith("pgd")]
    assert done == sorted(done)
    # Falling budgets: what withstands the larger one is not attacked at the smaller, whose half is done at once.
    first = [number / 8 for number in range(9)]
    assert (
        sorted(set(done)) == [*first, 2]
        if falling
        else sorted(set(done)) == [*first, *(1 + part for part in first[1:])]
    )


def test_resume_of_nothing_begins(job, tmp_path):
    store = evaluate(job.evaluation(), tmp_path / "out", resume=True)
    assert store.done() == set(store.plan["units"])


# What may not be continued


def changed_model(job):
    return job.evaluation(job.BrighterHalf(scale=21.0))


def changed_pixel(job):
    data = job.halves()
    images = data.images.copy()
    images[0, 0, 0, 0] += 0.25
    return job.evaluation(data=ImageSet(images, data.labels, data.names, data.class_names))


def changed_budget(job):
    return job.evaluation(curves=[Curve(PGD(steps=4, step_size=0.5), (0.01, 0.04, 0.1))])


def changed_steps(job):
    first, second = job.evaluation().curves
    return job.evaluation(curves=[replace(first, attack=replace(first.attack, steps=5)), second])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (changed_model, "model.sha256 was"),
        (changed_pixel, "data.sha256 was"),
        (changed_budget, "attacks was"),
        (changed_steps, r"attacks\[0\].configuration.steps was 4 and is now 5"),
        (lambda job: job.evaluation(seed=4), "seed was 3 and is now 4"),
        (lambda job: job.evaluation(shard_size=12), "shards was"),
    ],
)
def test_another_evaluation_is_not_continued(job, tmp_path, change, words):
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        evaluate(job.evaluation(), out, progress=stopping(4, KeyboardInterrupt()))
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(PlanDiffers, match=words) as caught:
        evaluate(change(job), out, resume=True)
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_where_units_were_computed_is_told(job, tmp_path, monkeypatch):
    """An evaluation is continued with another torch, in another number of threads; the plan says how it began."""
    out, threads, torch_then = tmp_path / "out", torch.get_num_threads(), torch.__version__
    curves = job.evaluation().curves[:1]
    with pytest.raises(KeyboardInterrupt):
        evaluate(job.evaluation(curves=curves, falling=False), out, progress=stopping(4, KeyboardInterrupt()))
    begun = Store.open(out)
    count = len(begun.done())
    assert 0 < count < 9
    assert told_apart(begun.receipts()) == ""
    assert {"processor", "instructions", "device"} <= set(begun.receipts()[0].facts["versions"])
    monkeypatch.setattr(torch, "__version__", "99.0")
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads + 1)
    store = evaluate(job.evaluation(curves=curves, falling=False), out, resume=True)
    assert store.plan["versions"]["torch"] == torch_then
    found = [(receipt.facts["versions"]["torch"], receipt.facts["threads"]) for receipt in store.receipts()]
    assert Counter(found) == {(torch_then, threads): count, ("99.0", threads + 1): 10 - count}
    check = store.query("SELECT outcome, sentence FROM rows WHERE \"check\" = 'C19'", "check")
    assert check["outcome"].tolist() == ["passed"]
    receipts = [receipt for receipt in store.receipts() if receipt.unit.kind == "attack"]
    assert check["sentence"][0].endswith(f"before the attacks. {told_apart(receipts)}")
    assert all(
        word in told_apart(receipts) for word in ("; threads", f"{torch_then} in {count}", f"99.0 in {9 - count}")
    )


def test_units_that_name_no_versions_fail_c19(job, tmp_path):
    evaluation = job.evaluation()
    store = evaluate(evaluation, tmp_path / "out")
    path = tmp_path / "out" / "receipts" / f"{evaluation.units()[0].id}.json"
    receipt = unseal(path.read_bytes())
    del receipt["facts"]["versions"]
    path.write_bytes(seal(receipt))
    finding = result_checks.provenance(evaluation, store)
    assert finding.outcome == "failed"
    assert finding.sentence.startswith("17 of 18 units name")
    assert "not recorded in 1" in finding.sentence


def test_what_exists_is_not_touched(job, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(StoreExists, match="must not exist"):
        evaluate(job.evaluation(), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="no medadv store"):
        evaluate(job.evaluation(), tmp_path / "file", resume=True)
    assert (tmp_path / "file").read_text() == "mine"


class Detached(torch.nn.Module):
    def forward(self, images):
        return images.detach().mean(dim=(1, 2)).reshape(len(images), 2, -1).mean(dim=2)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (Detached(), "gradient to its input"),
        (torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(9, 2)), "cannot read images"),
    ],
)
def test_a_model_that_cannot_be_attacked_leaves_nothing(job, tmp_path, module, words):
    with pytest.raises(ValueError, match=words):
        evaluate(job.evaluation(module), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_always_wrong_is_told_so(job, tmp_path):
    store = evaluate(job.evaluation(job.BrighterHalf(scale=-20.0), job.halves(5)), tmp_path / "out")
    statuses = store.query("SELECT DISTINCT status FROM rows", kind="attack")["status"].tolist()
    assert statuses == ["already wrong"]
    outcomes = store.query("SELECT outcome FROM rows WHERE \"check\" = 'C3'", kind="check")["outcome"].tolist()
    assert outcomes == ["not run"]


# Panels


def test_panels_follow_the_same_images_through_all_budgets(job, tmp_path):
    evaluation = job.evaluation(falling=False)
    store = evaluate(evaluation, tmp_path / "out")
    clean = evaluation.data.images
    for curve in evaluation.curves:
        for shard in range(3):
            examples = []
            for step, attack in enumerate(curve.attacks):
                panels = store.artifacts(evaluation.attack_unit(curve, step, shard).id)
                examples.append(panels["examples"].tolist())
                np.testing.assert_array_equal(panels["clean"], clean[panels["examples"]])
                change, adversarial = panels["change"].astype(np.float64), panels["adversarial"]
                if attack.name == "pgd":
                    np.testing.assert_array_equal(panels["clean"] + panels["change"], adversarial)
                    assert 0 < np.abs(change).max() <= attack.budget + 1e-7
                else:
                    np.testing.assert_allclose(panels["clean"] * np.exp(change), adversarial, rtol=1e-5)
                    assert 0 < np.abs(change).max() <= np.log(attack.budget)
                assert len(set(evaluation.data.labels[examples[-1]])) == 2
            assert examples[0] == examples[1] == examples[2]


def test_the_picture_of_an_image_is_what_its_row_says(job, tmp_path):
    evaluation = job.evaluation()
    store = evaluate(evaluation, tmp_path / "out")
    broken = 0
    for receipt in store.receipts("attack"):
        panels = store.artifacts(receipt.unit.id)
        rows = store.query(f"SELECT * FROM rows WHERE unit = '{receipt.unit.id}' ORDER BY example", kind="attack")
        places = np.searchsorted(rows["example"], panels["examples"])
        with torch.no_grad():
            answers = evaluation.victim(torch.from_numpy(panels["adversarial"])).argmax(1).tolist()
        assert answers == rows["prediction"][places].tolist()
        broken += int((rows["status"][places] == "success").sum())
    assert broken


def test_the_model_is_left_as_it_was(job, tmp_path):
    module = job.BrighterHalf()
    before = model_sha256(module)
    module.scale.grad = torch.tensor(7.0, dtype=torch.float64)
    evaluate(job.evaluation(module), tmp_path / "out")
    assert model_sha256(module) == before
    assert module.scale.grad.item() == 7.0
    assert not module.training


# Arguments


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"shard_size": 0}, ValueError, "shard_size must be at least 1"),
        ({"curves": [Curve(PGD(), (0.1,)), Curve(PGD(steps=3), (0.1,))]}, ValueError, "pgd more than once"),
    ],
)
def test_wrong_evaluations_are_refused(job, options, error, words):
    with pytest.raises(error, match=words):
        job.evaluation(**options)


@pytest.mark.parametrize("budgets", [(), (0.2, 0.1), (0.1, 0.1), (-0.1, 0.1)])
def test_wrong_budgets_are_refused(budgets):
    with pytest.raises(ValueError, match="budgets|eps"):
        Curve(PGD(), budgets)


def test_no_attack_is_refused(job):
    given = job.evaluation()
    with pytest.raises(ValueError, match="at least one attack"):
        Evaluation(given.victim, "x", given.data, "y", ())


def test_wrong_batch_size_leaves_nothing(job, tmp_path):
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        evaluate(job.evaluation(), tmp_path / "out", batch_size=0)
    assert os.listdir(tmp_path) == []


def test_no_tensor_outlives_an_evaluation(job, tmp_path):
    numbers = count()
    assert tensors_in_circles(lambda: evaluate(job.evaluation(), tmp_path / str(next(numbers)))) == 0
