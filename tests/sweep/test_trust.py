"""The trust checks: a sound evaluation passes them, and each planted fault fails the check that is there for it."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from medadv.attacks import (
    PGD,
    ADef,
    AdversarialSmoothBiasField,
    AffineAttack,
    BiasFieldAttack,
    ChainAttack,
    DeformationAttack,
    FlowAttack,
    FrequencyAttack,
    IntensityAttack,
    Status,
)
from medadv.data import ImageSet
from medadv.models import Victim
from medadv.objectives import Margin
from medadv.sweep import Store, Unit, attack_checks, gradient_checks, model_checks, result_checks
from medadv.sweep.constraint import result_violations, spent, violations
from medadv.sweep.evaluate import evaluate
from medadv.sweep.plan import Curve
from medadv.sweep.sample import Sample
from medadv.sweep.trust import TITLES, _of_the_classes, run_checks


def checks_of(evaluation, folder):
    store = evaluate(evaluation, folder / "out")
    table = store.query('SELECT "check", outcome, sentence FROM rows', kind="check")
    return {row[0]: SimpleNamespace(outcome=row[1], sentence=row[2]) for row in zip(*table.values(), strict=True)}


def failed(checks):
    return [name for name, check in checks.items() if check.outcome == "failed"]


# Whole evaluations


def test_a_sound_model_fails_nothing(job, tmp_path):
    checks = checks_of(job.evaluation(), tmp_path)
    assert list(checks) == list(TITLES) == [f"C{number}" for number in range(1, 21)]
    assert failed(checks) == []
    assert [name for name, check in checks.items() if check.outcome == "not run"] == []
    for name, check in checks.items():
        assert check.sentence.endswith("."), name
        assert "\n" not in check.sentence
        assert any(character.isdigit() for character in check.sentence), name


def test_two_attacks_of_one_name_are_told_apart(job, tmp_path):
    attacks = {f"pgd:steps={steps}": PGD(steps=steps, step_size=0.5) for steps in (2, 4)}
    curves = [Curve(attack, job.NOISE, label) for label, attack in attacks.items()]
    checks = checks_of(job.evaluation(curves=curves), tmp_path)
    for name in ("C6", "C7", "C9", "C13", "C14", "C16", "C17", "C18"):
        for label in attacks:
            assert f"{label} at " in checks[name].sentence, name


class Wrapped(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, images):
        return self.function(images)


def test_steps_that_do_not_move_are_found(job, tmp_path):
    curves = [Curve(PGD(steps=4, step_size=1e-4, random_start=False), job.NOISE)]
    checks = checks_of(job.evaluation(curves=curves), tmp_path)
    assert failed(checks) == ["C6", "C7", "C8", "C14", "C16", "C18"]
    assert "22 still came nearer as fast as ever at the last step" in checks["C18"].sentence


def test_too_few_steps_are_found(job, tmp_path):
    curves = [Curve(PGD(steps=2, step_size=0.2, random_start=False), (0.05,))]
    checks = checks_of(job.evaluation(curves=curves), tmp_path)
    assert failed(checks) == ["C6", "C7", "C9", "C16"]
    assert "twice as many break" in checks["C9"].sentence


def test_budgets_that_break_nothing_are_found(job, tmp_path):
    curves = [Curve(PGD(steps=2), (0.0, 1e-6))]
    assert "C8" in failed(checks_of(job.evaluation(curves=curves), tmp_path))


# Single checks


def sample_of(evaluation, rows=None):
    rows = torch.arange(len(evaluation.data)) if rows is None else rows
    correct = evaluation.victim.correct(evaluation.logits, evaluation.targets)
    rows = rows[correct[rows]]
    images, targets, logits = evaluation.images[rows], evaluation.targets[rows], evaluation.logits[rows]
    return Sample(evaluation.victim, images, targets, rows, logits, evaluation.seed)


def test_probabilities_are_no_logits():
    assert model_checks.logits(torch.tensor([[0.25, 0.75], [1.0, 0.0]])).outcome == "failed"
    assert model_checks.logits(torch.tensor([[0.25, 0.75], [1.0, 0.1]])).outcome == "passed"
    assert model_checks.logits(torch.tensor([[-0.25, 1.25]])).outcome == "passed"


def test_an_answer_of_several_labels_has_changed_where_any_of_them_has(job):
    class Flickering(nn.Module):
        """The last label, which is never the largest, is there in every other pass."""

        passes = 0

        def forward(self, images):
            self.passes += 1
            logits = torch.tensor([[5.0, 4.0, 1e-5 * (-1) ** self.passes]])
            return logits.expand(len(images), -1) + 0 * images.flatten(1).sum(dim=1, keepdim=True)

    victim = Victim(Flickering().eval(), task="multilabel")
    images = torch.rand(3, 1, 4, 4)
    logits = victim(images)
    sample = Sample(victim, images, victim.task.predict(logits), torch.arange(3), logits, 0)
    finding = model_checks.deterministic(sample)
    assert finding.outcome == "failed"
    assert "3 changed their class" in finding.sentence


def test_probabilities_beside_a_detector_are_no_logits(job):
    logits = torch.tensor([[0.25, 0.75, -3.0], [1.0, 0.0, 2.0]])
    plain = SimpleNamespace(guarded=False)
    assert model_checks.logits(_of_the_classes(SimpleNamespace(logits=logits, victim=plain))).outcome == "passed"
    guarded = SimpleNamespace(guarded=True)
    assert model_checks.logits(_of_the_classes(SimpleNamespace(logits=logits, victim=guarded))).outcome == "failed"


def test_without_a_limit_every_objective_is_tried(job):
    evaluation = job.evaluation(job.BrighterHalf(scale=1e6, dtype=torch.float32))
    sample = sample_of(evaluation)
    sound, saturated = Curve(PGD(objective=Margin()), (0.1,)), Curve(PGD(steps=50), (0.1,), "saturated")
    assert model_checks.without_limit([sound], sample).outcome == "passed"
    finding = model_checks.without_limit([sound, saturated, Curve(PGD(steps=45), (0.1,), "again")], sample)
    assert finding.outcome == "failed"
    assert "40 steps that raise Margin() leave 0 (0.0 %); 50 steps that raise CrossEntropy() leave" in finding.sentence
    assert finding.sentence.count("steps that raise") == 2


@pytest.mark.parametrize(("unlucky", "beaten"), [(0, False), (1, False), (2, True)])
def test_a_lesser_attack_that_is_only_luckier_does_not_beat_an_attack(job, unlucky, beaten):
    """Of images that the attack breaks, some are said not to have been broken this time."""
    evaluation = job.evaluation(data=job.halves(30))
    sample = sample_of(evaluation)
    attack = PGD(0.03, steps=10)
    sound = attack_checks.Probe(attack, sample.attack(attack))
    status = sound.result.status.clone()
    status[sound.broken[:unlucky]] = Status.FAILED
    probe = attack_checks.Probe(attack, replace(sound.result, status=status))
    assert 20 <= len(sample) < 40
    assert attack_checks._compared(probe, sound.result.success, sample) == (unlucky, beaten)
    lame = attack_checks.Probe(replace(attack, step_size=1e-9, random_start=False), probe.result)
    assert attack_checks._compared(lame, sound.result.success, sample) == (unlucky, unlucky > 0)


def test_where_nothing_was_broken_nothing_was_verified(job):
    evaluation = job.evaluation()
    sample = sample_of(evaluation)
    attack = PGD(1e-6, steps=1)
    finding = attack_checks.verified_again([attack_checks.Probe(attack, sample.attack(attack))], sample)
    assert (finding.outcome, finding.sentence) == ("not run", "pgd at 1e-06: no image was broken.")


def test_budgets_that_nobody_can_measure_are_named(job, tmp_path):
    curves = [Curve(ADef(), (1.0, 2.0)), Curve(FlowAttack(steps=2), (0.2, 0.5))]
    evaluation = job.evaluation(curves=curves)
    store = evaluate(evaluation, tmp_path / "out")
    sample = sample_of(evaluation)
    probes = [attack_checks.probe(evaluation.gradient_curves[0], store, sample)]
    measured = attack_checks.within_budget(probes, evaluation, store, sample)
    assert measured.outcome == "passed"
    assert measured.sentence.endswith(
        f"Measured anew on {len(sample)} attacked float32 images: 0 outside the budget or "
        "the image range; not measured: adef."
    )
    nothing = attack_checks.within_budget([], evaluation, store, sample)
    assert (nothing.outcome, nothing.sentence) == (
        "not run",
        "The budgets of adef, flow do not show in stored images.",
    )


def test_share_of_images_with_a_gradient_is_counted(job):
    """Images darker than 0.4 on average go through a plateau."""

    def plateau(images):
        return images * (images.mean(dim=(1, 2, 3), keepdim=True) > 0.45)

    evaluation = job.evaluation(job.BrighterHalf(edge=Wrapped(plateau)))
    sample = sample_of(evaluation)
    bright = int((sample.images.mean(dim=(1, 2, 3)) > 0.45).sum())
    assert 0 < bright < len(sample)
    finding = gradient_checks.gradients(evaluation.curves, sample)
    assert finding.outcome == "failed"
    assert f"pgd: {bright} of {len(sample)} images" in finding.sentence


def test_images_on_the_edge_do_not_survive_rounding(job):
    """Changes far below a 16-bit level fool the model only as long as nobody rounds them."""
    images = np.full((6, 1, 16, 16), np.float32(32768 / 65535))
    images[:, :, 0, 0] = np.float32(32770 / 65535)
    data = ImageSet(images, np.zeros(6, np.int64), tuple("abcdef"), ("left", "right"))
    evaluation = job.evaluation(data=data, curves=[Curve(PGD(steps=3, random_start=False), (1e-7, 1e-6))])
    sample = sample_of(evaluation)
    attack = evaluation.curves[0].attacks[1]
    probe = attack_checks.Probe(attack, sample.attack(attack))
    assert len(probe.broken) == 6
    finding = attack_checks.verified_again([probe], sample)
    assert finding.outcome == "failed"
    assert "100.0 % are wrong alone, 0.0 % after rounding to 16 bits" in finding.sentence


def test_random_changes_that_beat_the_attack_are_found(job):
    evaluation = job.evaluation()
    sample = sample_of(evaluation)
    strong = PGD(eps=0.4, steps=1, step_size=1e-6, random_start=False)
    weak = attack_checks.Probe(strong, sample.attack(strong))
    assert len(weak.broken) == 0

    class Grainy(nn.Module):
        """Looks at one pixel of each half, so that noise is enough."""

        def forward(self, images):
            return torch.stack([images[:, 0, 3, 3], images[:, 0, 3, 12]], dim=1)

    victim = Victim(Grainy().eval())
    images = sample.images
    targets = victim(images).argmax(1)
    grainy = Sample(victim, images, targets, sample.ids, victim(images), 0)
    finding = attack_checks.noise_floor([attack_checks.Probe(strong, grainy.attack(strong))], grainy)
    assert finding.outcome == "failed"
    assert "the attack breaks 0" in finding.sentence


# Budgets measured on images


@pytest.mark.parametrize(
    ("attack", "clean", "changed", "used"),
    [
        (PGD(eps=0.25), 0.5, 0.75, 0.25),
        (PGD(eps=0.25, norm="l2"), 0.5, 0.625, 0.125 * 16),
        (BiasFieldAttack(gain=1.5), 0.5, 0.75, 1.5),
        (BiasFieldAttack(gain=1.5), 0.75, 0.5, 1.5),
        (AdversarialSmoothBiasField(gain=1.5), 0.75, 0.5, 1.5),
        (BiasFieldAttack(gain=1.5), 0.0, 0.0, 1.0),
        (BiasFieldAttack(gain=1.5), 0.0, 0.5, np.inf),
    ],
)
def test_budget_is_measured_in_its_own_units(attack, clean, changed, used):
    before, after = (np.full((2, 1, 16, 16), value, np.float32) for value in (clean, changed))
    assert spent(attack, before, after, (0.0, 1.0)) == pytest.approx(used)


def test_one_voxel_beyond_the_budget_is_a_violation():
    clean = np.full((3, 1, 8, 8), 0.5, np.float32)
    changed = clean.copy()
    changed[0, 0, 3, 3] = 0.75
    changed[1, 0, 3, 3] = np.nextafter(np.float32(0.75), np.float32(1))
    changed[2, 0, 3, 3] = np.nan
    assert violations(PGD(eps=0.25), clean, changed, (0.0, 1.0)).tolist() == [False, True, True]
    assert violations(BiasFieldAttack(gain=1.5), clean, changed, (0.0, 1.0)).tolist() == [False, True, True]
    assert violations(PGD(eps=0.25), clean, changed, (0.0, 0.7)).tolist() == [True, True, True]


def test_a_polynomial_field_keeps_the_gain_that_its_images_show(job):
    evaluation = job.evaluation()
    victim, images = evaluation.victim, evaluation.images[:]
    result = AdversarialSmoothBiasField(1.4, steps=3)(victim, images, evaluation.targets)
    assert not result_violations(AdversarialSmoothBiasField(1.4), images, result, victim.bounds).any()
    used = spent(AdversarialSmoothBiasField(), images.numpy(), result.images.numpy(), victim.bounds)
    assert used == pytest.approx(float(result.distance.max()), rel=1e-5)
    tried = (result.distance > 1.2).numpy()
    assert tried.any()
    assert result_violations(AdversarialSmoothBiasField(1.19), images, result, victim.bounds)[tried].all()


FAMILIES = [
    DeformationAttack(1.5, spacing=4, steps=2),
    FlowAttack(0.5, steps=2),
    AffineAttack(0.5, steps=2),
    IntensityAttack(1.2, steps=2),
    FrequencyAttack(10.0, steps=2),
    ChainAttack(0.5, steps=2),
]


@pytest.mark.parametrize("attack", FAMILIES, ids=lambda attack: attack.name)
def test_budgets_that_images_do_not_show_are_measured_on_the_parameters(job, attack):
    evaluation = job.evaluation()
    victim, images = evaluation.victim, evaluation.images[:]
    result = attack(victim, images, evaluation.targets)
    assert not result_violations(attack, images, result, victim.bounds).any()
    smaller = attack.with_budget(attack.budget if attack.name == "intensity" else attack.budget / 4)
    if attack.name == "intensity":
        smaller = attack.with_budget(1.001)
    tried = (result.distance > smaller.budget * 1.01).numpy()
    assert tried.any()
    assert result_violations(smaller, images, result, victim.bounds)[tried].all()


@pytest.mark.parametrize("attack", FAMILIES, ids=lambda attack: attack.name)
def test_images_that_are_not_those_of_the_parameters_are_violations(job, attack):
    evaluation = job.evaluation()
    victim, images = evaluation.victim, evaluation.images[:]
    result = attack(victim, images, evaluation.targets)
    result.images[1] = images[1].flip(-1)
    assert result_violations(attack, images, result, victim.bounds).tolist() == [n == 1 for n in range(len(images))]


def test_folding_is_a_violation(job):
    evaluation = job.evaluation()
    victim, images = evaluation.victim, evaluation.images[:]
    folding = DeformationAttack(6.0, spacing=3, jacobian=None, steps=2)
    result = folding(victim, images, evaluation.targets)
    limited = DeformationAttack(6.0, spacing=3, jacobian=0.1)
    tried = (result.distance > 3).numpy()
    assert tried.any()
    assert result_violations(limited, images, result, victim.bounds)[tried].all()


def test_budget_is_a_fraction_of_the_range():
    clean = np.full((1, 1, 4, 4), 100.0, np.float32)
    assert spent(PGD(), clean, clean + 50, (-100.0, 400.0)) == pytest.approx(0.1)
    assert spent(BiasFieldAttack(), clean, clean + 100, (-100.0, 400.0)) == pytest.approx(1.5)


def test_a_stored_image_beyond_its_budget_is_found(job, tmp_path):
    evaluation = job.evaluation()
    store = evaluate(evaluation, tmp_path / "out")
    sample = sample_of(evaluation)
    probes = [attack_checks.probe(curve, store, sample) for curve in evaluation.curves]
    assert attack_checks.within_budget(probes, evaluation, store, sample).outcome == "passed"

    def widened(unit_id):
        panels = Store.artifacts(store, unit_id)
        if panels:
            panels["adversarial"][0, 0, 0, 0] += 0.9
        return panels

    store.artifacts = widened
    finding = attack_checks.within_budget(probes, evaluation, store, sample)
    assert finding.outcome == "failed"
    assert "18 outside" in finding.sentence


@pytest.mark.parametrize(("statuses", "budget"), [("failed", 0.1), ("success", 0.01)])
def test_of_equally_telling_budgets_the_probe_takes_the_one_that_would_be_a_surprise(job, tmp_path, statuses, budget):
    """Where nothing breaks, the largest budget says most; where all breaks, the smallest."""
    evaluation = job.evaluation()
    store = forged(tmp_path, [("pgd", eps, [statuses] * 5) for eps in job.NOISE])
    assert attack_checks.probe(evaluation.curves[0], store, sample_of(evaluation)).attack.budget == budget


def test_the_probe_is_at_the_budget_that_about_half_withstand(job, tmp_path):
    evaluation = job.evaluation()
    store = evaluate(evaluation, tmp_path / "out")
    for curve in evaluation.curves:
        points = [point for point in result_checks.read_points(store) if point.attack == curve.attack.name]
        shares = [abs(point.robust / point.correct - 0.5) for point in points]
        probe = attack_checks.probe(curve, store, sample_of(evaluation))
        assert probe.attack.budget == points[int(np.argmin(shares))].budget
        assert len(probe.survivors) + len(probe.broken) == len(sample_of(evaluation))


# Stored results


def forged(folder, rows, identity=None):
    """A store with given statuses: (attack, budget, [status of each image])."""
    identity = identity or {"model_sha256": "m", "data_sha256": "d"}
    plan = {"model": {"sha256": "m"}, "data": {"sha256": "d"}, "versions": {"torch": "1"}}
    store = Store.create(folder / "forged", plan)
    for attack, budget, statuses in rows:
        fields = {"attack": attack, "budget": budget, "configuration": {}, "seed": 0, "version": "0", **identity}
        columns = {"example": np.arange(len(statuses)), "status": list(statuses)}
        store.commit(Unit("attack", fields), columns, facts={"versions": {"torch": "1"}})
    return store


OK, BROKEN, WRONG = "failed", "success", "already wrong"


@pytest.mark.parametrize(
    ("rows", "outcome"),
    [
        ([("pgd", 0.1, [OK, OK, WRONG]), ("pgd", 0.2, [BROKEN, OK, WRONG])], "passed"),
        ([("pgd", 0.1, [BROKEN, OK, OK]), ("pgd", 0.2, [OK, BROKEN, BROKEN])], "failed"),
        ([("pgd", 0.1, [OK, OK, OK]), ("pgd", 0.2, [OK, OK, OK])], "failed"),
        ([("pgd", 0.1, [BROKEN, OK]), ("bias-field", 1.2, [OK, OK])], "failed"),
    ],
)
def test_falling_curves(tmp_path, rows, outcome):
    assert result_checks.falling(forged(tmp_path, rows)).outcome == outcome


def test_worst_case_is_counted_image_by_image(tmp_path):
    rows = [("pgd", 0.1, [BROKEN, OK, OK, OK]), ("bias-field", 1.2, [OK, BROKEN, BROKEN, OK])]
    finding = result_checks.worst_case(forged(tmp_path, rows))
    assert finding.outcome == "passed"
    assert finding.sentence.startswith("1 of 4 images (25.0 %) withstand all")
    assert "bias-field at 1.2, leaves 2 (50.0 %)" in finding.sentence


def test_clean_accuracy_must_agree(tmp_path):
    finding = result_checks.clean_accuracy(forged(tmp_path, [("pgd", 0.1, [OK, OK, WRONG, BROKEN])]))
    assert finding.outcome == "passed"
    assert "3 of 4 images (75.0 %, 95 % interval 30.1 to 95.4 %)" in finding.sentence
    rows = [("pgd", 0.1, [OK, WRONG]), ("pgd", 0.2, [OK, OK])]
    other = tmp_path / "other"
    other.mkdir()
    assert result_checks.clean_accuracy(forged(other, rows)).outcome == "failed"


def test_clean_accuracy_must_agree_image_by_image(tmp_path):
    rows = [("pgd", 0.1, [OK, WRONG]), ("pgd", 0.2, [WRONG, OK])]
    finding = result_checks.clean_accuracy(forged(tmp_path, rows))
    assert finding.outcome == "failed"
    assert finding.sentence.endswith("not all attacks and budgets saw the same.")


def test_rows_of_other_weights_are_found(job, tmp_path):
    evaluation = job.evaluation()
    store = evaluate(evaluation, tmp_path / "out")
    assert result_checks.provenance(evaluation, store).outcome == "passed"
    with torch.no_grad():
        evaluation.victim.module.scale += 1
    finding = result_checks.provenance(evaluation, store)
    assert finding.outcome == "failed"
    assert "not those of" in finding.sentence
    strange = forged(tmp_path, [("pgd", 0.1, [OK])], {"model_sha256": "other", "data_sha256": "d"})
    assert "0 of 1 units" in result_checks.provenance(evaluation, strange).sentence


def test_the_widest_interval_is_named(tmp_path):
    rows = [("pgd", 0.1, [OK] * 10), ("pgd", 0.2, [OK] * 5 + [BROKEN] * 5)]
    sentence = result_checks.intervals(forged(tmp_path, rows)).sentence
    assert "23.7 to 76.3 %, for pgd at 0.2" in sentence


def test_checks_do_not_depend_on_when_they_are_run(job, tmp_path):
    evaluation = job.evaluation()
    store = evaluate(evaluation, tmp_path / "out")
    assert run_checks(evaluation, store) == run_checks(job.evaluation(), store)
