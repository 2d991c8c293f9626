"""C6 and C16: what a search without gradients finds, the attack finds."""

import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from medadv.attacks import (
    APGD,
    MIFGSM,
    PGD,
    AdversarialSmoothBiasField,
    BiasFieldAttack,
    Square,
    StabilisedMedicalAttack,
    Status,
    random_search,
    transfer,
)
from medadv.models import Victim
from medadv.objectives import CrossEntropy, Margin, Stabilised
from medadv.sweep.black_box import QUERIES, Beyond, beyond, black_box, transfers
from medadv.sweep.black_box_checks import no_black_box_stronger, planted_weakness
from medadv.sweep.curve import Curve, Surrogate
from medadv.sweep.planted import PlantedVictim
from medadv.sweep.sample import Probe, Sample


def sample_of(classes=2, count=16, task="multiclass"):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(144, classes)).double().eval()
    victim = Victim(net, task=task)
    images = torch.rand(count, 1, 8, 8)
    with torch.no_grad():
        logits = victim(images)
    return Sample(victim, images, victim.task.predict(logits), torch.arange(count), logits, 0)


def probed(attack, sample):
    return Probe(attack, sample.attack(attack))


def both(attack, sample):
    probe = probed(attack, sample)
    given = [probe], [black_box(probe, sample)], sample
    return no_black_box_stronger(*given), planted_weakness(*given)


# Small budgets, so that some images withstand.
SOUND = [PGD(0.02), PGD(0.15, "l2"), PGD(0.6, "l1", steps=40), APGD(0.02, steps=20), BiasFieldAttack(1.1, spacing=4)]


@pytest.mark.parametrize("attack", SOUND, ids=repr)
@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_a_sound_attack_passes(attack, task):
    sample = sample_of(classes=3, task=task)
    attack = replace(attack, objective=Margin())
    assert 0 < len(probed(attack, sample).survivors) < len(sample)
    stronger, planted = both(attack, sample)
    assert (stronger.outcome, planted.outcome) == ("passed", "passed")


@pytest.mark.parametrize(
    ("attack", "told"),
    [
        (PGD(0.02), "Margin()"),
        (StabilisedMedicalAttack(0.02, objective=Stabilised()), f"{Stabilised(Margin())!r}"),
        (AdversarialSmoothBiasField(1.05, objective=CrossEntropy()), "Margin()"),
    ],
    ids=["pgd", "stabilised", "smooth bias field"],
)
def test_cross_entropy_over_several_labels_is_found_to_be_weak(attack, told):
    """It pushes all labels at once, though one wrong label is enough; the margin goes for the nearest."""
    _, planted = both(attack, sample_of(classes=3, task="multilabel"))
    assert planted.outcome == "failed"
    found, better = re.search(r"finds it in (\d+), and in (\d+) with objective=", planted.sentence).groups()
    assert int(better) > int(found)
    assert planted.sentence.endswith(f"with objective={told} (at most 0 may be missed).")


def test_the_margin_is_not_recommended_where_it_does_not_help():
    sample = sample_of()
    for attack in (PGD(0.08, step_size=1e-6, random_start=False), PGD(0.08, step_size=1e-6, objective=Margin())):
        _, planted = both(attack, sample)
        assert planted.outcome == "failed"
        assert "with objective" not in planted.sentence


@pytest.mark.parametrize("attack", SOUND, ids=repr)
def test_an_attack_that_does_not_move_fails(attack):
    sample = sample_of()
    lame = replace(attack, step_size=1e-6, random_start=False)
    larger = lame.with_budget({"gain": 1.0 + 4 * (lame.budget - 1)}.get(lame.budget_field, 4 * lame.budget))
    stronger, planted = both(larger, sample)
    assert (stronger.outcome, planted.outcome) == ("failed", "failed")
    assert "the attack finds it in 0" in planted.sentence


def test_the_search_fits_the_perturbation_and_looks_at_survivors_only():
    sample = sample_of()
    for attack, title in ((PGD(0.02), "Square"), (PGD(0.15, "l2"), "Square"), (PGD(0.6, "l1"), "a random search")):
        probe = probed(attack, sample)
        box = black_box(probe, sample)
        assert box.title == title
        assert torch.equal(box.rows, probe.survivors)
        assert int(box.result.forwards.max()) == QUERIES
        assert float(box.result.distance.max()) <= attack.budget
    assert len(box.rows) < len(sample)
    given = sample.victim, sample.images, sample.targets, sample.ids, sample.logits
    rows = black_box(probed(PGD(0.02), sample), sample).rows
    assert torch.equal(
        Square(0.02, queries=QUERIES, seed=0).run(*given).images[rows],
        black_box(probed(PGD(0.02), sample), sample).result.images,
    )
    whole = random_search(PGD(0.6, "l1").perturbation, *given, queries=QUERIES, seed=0)
    assert torch.equal(whole.images[box.rows], box.result.images)


def test_where_nothing_withstands_all_images_are_searched():
    sample = sample_of()
    probe = probed(PGD(0.5), sample)
    assert len(probe.survivors) == 0
    box = black_box(probe, sample)
    assert len(box.rows) == len(sample)
    finding = no_black_box_stronger([probe], [box], sample)
    assert finding.outcome == "passed"
    assert finding.sentence == (
        "pgd at 0.5: breaks all 16 images itself. No surrogate was named, so that no attack was made on another model."
    )
    assert planted_weakness([probe], [box], sample).outcome == "passed"


def test_one_image_more_is_one_too_many():
    sample = sample_of()
    probe = probed(PGD(0.02), sample)
    box = black_box(probe, sample)
    status = box.result.status.clone()
    assert no_black_box_stronger([probe], [box], sample).outcome == "passed"
    status[0] = 1
    found = replace(box, result=replace(box.result, status=status))
    assert no_black_box_stronger([probe], [found], sample).outcome == "failed"


def with_luck(unlucky, never, count=24):
    """Images that the attack breaks but is said not to have broken this time, and such that it never breaks."""
    sample = sample_of(count=count)
    probe, further = probed(PGD(0.04), sample), probed(PGD(0.08), sample)
    wanted = torch.cat([probe.broken[:unlucky], (probe.result.robust & further.result.success).nonzero()[:never, 0]])
    assert len(wanted) == unlucky + never
    status = probe.result.status.clone()
    status[wanted] = Status.FAILED
    probe = Probe(probe.attack, replace(probe.result, status=status))
    box = black_box(probe, sample)
    found = torch.where(torch.isin(box.rows, wanted), int(Status.SUCCESS), int(Status.FAILED)).to(status.dtype)
    return probe, replace(box, result=replace(box.result, status=found)), sample


@pytest.mark.parametrize(
    ("unlucky", "never", "count", "outcome"),
    [(1, 0, 24, "passed"), (2, 0, 24, "failed"), (0, 1, 24, "failed"), (1, 1, 40, "failed"), (2, 0, 40, "passed")],
)
def test_what_the_attack_breaks_in_another_run_is_luck_where_it_is_little(unlucky, never, count, outcome):
    probe, box, sample = with_luck(unlucky, never, count)
    finding = no_black_box_stronger([probe], [box], sample)
    assert finding.outcome == outcome
    told = f"({unlucky} of them the attack breaks, too, when it is repeated with other random numbers)"
    assert (told in finding.sentence) == (unlucky > 0 and unlucky + never <= 0.05 * count)
    assert f"Square with 100 queries breaks {unlucky + never} of the" in finding.sentence


def test_luck_is_asked_for_on_the_images_in_question_alone():
    probe, box, sample = with_luck(1, 0)
    assert beyond(probe, [box, box], sample) == Beyond(1, 1, 24)
    probe, box, sample = with_luck(0, 1)
    assert beyond(probe, [box], sample) == Beyond(1, 0, 24)
    assert beyond(probe, [], sample) == Beyond(0, 0, 24)


# Attacks on other models


def test_what_an_attack_on_another_model_breaks_counts():
    """An attack that does not move, beside its like on a surrogate that moves: the same network, honestly attacked."""
    sample = sample_of()
    lame = replace(PGD(0.06), step_size=1e-6, random_start=False)
    probe = probed(lame, sample)
    assert len(probe.broken) == 0
    surrogate = Surrogate(sample.victim, "tests:twin")
    curve = Curve(MIFGSM(steps=10, stop_early=False), (0.01, 0.2), "transfer-mi-fgsm", surrogate)
    (box,) = transfers(probe, [curve], sample)
    assert box.title == "mi-fgsm made on tests:twin"
    assert torch.equal(box.rows, probe.survivors)
    expected = transfer(
        MIFGSM(0.06, steps=10, stop_early=False), sample.victim, sample.victim, sample.images, sample.targets
    )
    assert torch.equal(box.result.images, expected.images)
    assert box.result.success.sum() > 2
    assert int(box.result.backwards.sum()) == 0
    found = [replace(box, title="Square", result=PGD(0.0).run(sample.victim, *given_to(sample)))]
    assert no_black_box_stronger([probe], found, sample, [[]]).outcome == "passed"
    finding = no_black_box_stronger([probe], found, sample, [[box]])
    assert finding.outcome == "failed"
    count = int(box.result.success.sum())
    assert f"Square with 100 queries breaks 0, mi-fgsm made on tests:twin {count} of the 16 images" in finding.sentence
    assert "No surrogate" not in finding.sentence


def given_to(sample):
    return sample.images, sample.targets, sample.ids, sample.logits


def test_what_changes_something_else_is_replaced_by_the_attack_itself():
    sample = sample_of()
    net = nn.Sequential(nn.AvgPool2d(3, 1, 1), *sample.victim.module).eval()
    other = Victim(net)
    surrogate = Surrogate(other, "tests:other")
    curves = [
        Curve(PGD(norm="l2"), (0.3,), "transfer-pgd:norm=l2", surrogate),
        Curve(BiasFieldAttack(spacing=4), (1.2,), "transfer-bias-field", surrogate),
    ]
    probe = probed(PGD(0.02), sample)
    (box,) = transfers(probe, curves, sample)
    assert box.title == "pgd made on tests:other"
    rows = probe.survivors
    part = sample.images[rows], sample.targets[rows], sample.ids[rows]
    assert torch.equal(box.result.images, transfer(PGD(0.02, stop_early=False), other, sample.victim, *part).images)
    assert (box.result.images != part[0]).flatten(1).any(dim=1).sum() > 2
    fields = probed(BiasFieldAttack(1.1, spacing=4), sample)
    assert [box.title for box in transfers(fields, curves, sample)] == ["bias-field made on tests:other"]
    assert transfers(probed(PGD(0.5), sample), curves, sample) == []


def test_nothing_to_plant_where_nothing_moves():
    class Constant(nn.Module):
        def forward(self, images):
            return torch.tensor([[1.0, 0.0]]) + 0 * images.flatten(1).sum(dim=1, keepdim=True)

    whole = sample_of()
    victim = Victim(Constant().eval())
    logits = victim(whole.images)
    sample = Sample(victim, whole.images, logits.argmax(dim=1), whole.ids, logits, 0)
    stronger, planted = both(PGD(0.1), sample)
    assert (stronger.outcome, planted.outcome) == ("passed", "not run")


@pytest.mark.parametrize("task", ["multiclass", "binary", "multilabel"])
def test_the_planted_threshold_is_where_the_answer_turns(task):
    classes = {"multiclass": 4, "binary": 1, "multilabel": 3}[task]
    sample = sample_of(classes=classes, task=task)
    thresholds = torch.linspace(-3, 3, len(sample))
    planted = PlantedVictim(sample.victim, sample.targets, thresholds)
    with torch.no_grad():
        logits = planted(sample.images)
    before, after = (Margin()(values, sample.targets) for values in (sample.logits, logits))
    torch.testing.assert_close(after, before - thresholds)
    assert torch.equal(planted.correct(logits, sample.targets), ~(before > thresholds))
    assert planted.bounds == sample.victim.bounds
    assert planted.dtype == sample.victim.dtype == torch.float64
    # The victim itself is what it was.
    assert torch.equal(sample.victim(sample.images), sample.logits)


def test_gradients_of_the_planted_network_are_those_of_the_network():
    sample = sample_of(classes=3)
    planted = PlantedVictim(sample.victim, sample.targets, torch.ones(len(sample)))
    found = []
    for victim in (sample.victim, planted):
        images = sample.images.clone().requires_grad_()
        found.append(torch.autograd.grad(victim(images)[:, 0].sum(), images)[0])
    assert torch.equal(*found)
