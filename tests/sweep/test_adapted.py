"""Models of random numbers and stand-ins, attacked as they must be: no check cries wolf, and none falls asleep."""

from dataclasses import fields

import pytest
import torch
from torch import nn

from medadv.attacks import PGD, Gradient, Status
from medadv.models import BPDA, RandomisedVictim, Victim
from medadv.models.bpda import stand_ins_in_place
from medadv.sweep import gradient_checks, model_checks
from medadv.sweep.black_box import black_box
from medadv.sweep.curve import Curve, Surrogate
from medadv.sweep.evaluate import evaluate
from medadv.sweep.plan import Evaluation
from medadv.sweep.planted import PlantedVictim
from medadv.sweep.sample import Probe, Sample
from medadv.sweep.search_trace import trace


def twelve_levels(images):
    """Steps that are wider than the budgets."""
    return (images * 12).round() / 12


class Noise(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, images):
        return images + self.size * torch.randn_like(images)


class Detached(nn.Module):
    """Nine tenths of it are hidden from the gradient."""

    def forward(self, images):
        return 0.1 * images + 0.9 * images.detach()


def evaluated(job, victim, folder, attack, **options):
    evaluation = Evaluation(victim, "x", job.halves(), "y", (Curve(attack, job.NOISE),), seed=3, **options)
    store = evaluate(evaluation, folder / "out")
    table = store.query('SELECT "check", outcome, sentence FROM rows', kind="check")
    return {row[0]: row[1:] for row in zip(*table.values(), strict=True)}


def failed(found):
    return {name for name, (outcome, _) in found.items() if outcome != "passed"}


PLAIN = PGD(steps=4, step_size=0.5)


# Random numbers


@pytest.mark.parametrize("samples", [1, 4])
def test_a_random_model_that_is_judged_by_fixed_draws_fails_nothing(job, tmp_path, samples):
    victim = RandomisedVictim(job.BrighterHalf(edge=Noise(0.1)).eval(), draws=4)
    attack = PGD(steps=4, step_size=0.5, gradient=Gradient(samples=samples))
    found = evaluated(job, victim, tmp_path, attack)
    assert failed(found) == set()
    assert "judged by the mean of 4 fixed draws" in found["C2"][1]
    assert f"follows in {samples} draws other than those of the judge leaves" in found["C17"][1]


def random_sample(size, draws=2, count=12):
    """Each pixel is weighed by chance: draws differ in their gradients."""

    class Weighed(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(36, generator=torch.Generator().manual_seed(1), dtype=torch.float64))

        def forward(self, images):
            weight = self.weight + size * torch.randn_like(self.weight)
            value = (images.flatten(1) - 0.5) @ weight
            return torch.stack([value, torch.zeros_like(value)], dim=1)

    victim = RandomisedVictim(Weighed().eval(), draws=draws)
    images = torch.rand(count, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = victim(images)
    return Sample(victim, images, logits.argmax(dim=1), torch.arange(count), logits, 0)


def test_answers_that_hang_on_the_draws_are_told():
    sure, unsure = (model_checks.deterministic(random_sample(size)) for size in (1e-6, 3.0))
    assert sure.outcome == unsure.outcome == "passed"
    assert sure.sentence.endswith("by the mean of 2 fixed draws; by as many others 0 images have another class.")
    assert "others 0 images" not in unsure.sentence


def test_a_random_model_that_forgets_its_seed_is_not_repeatable():
    class Forgetful(nn.Module):
        calls = 0

        def forward(self, images):
            Forgetful.calls += 1
            return images.flatten(1) * (1 + 0.1 * Forgetful.calls)

    sample = random_sample(0.1)
    unsteady = RandomisedVictim(Forgetful().eval(), draws=2)
    finding = model_checks.deterministic(Sample(unsteady, sample.images, sample.targets, sample.ids, sample.logits, 0))
    assert finding.outcome == "failed"


@pytest.mark.parametrize("more", [False, True])
def test_draws_that_differ_are_no_fault_unless_something_without_gradients_finds_more(more):
    """A single draw to judge by, and two whose gradients have little to do with it."""
    sample = random_sample(6.0, draws=1)
    attack = PGD(0.01, steps=5, gradient=Gradient(samples=2))
    probe = Probe(attack, sample.attack(attack))
    assert len(probe.survivors) > 0
    box = black_box(probe, sample)
    box.result.status[:] = Status.FAILED
    box.result.status[0] = Status.SUCCESS if more else Status.FAILED
    finding = gradient_checks.whole_defence([probe], sample, [[box]])
    assert finding.outcome == ("failed" if more else "passed")
    whole, followed = finding.sentence.split("; compared with the model as it is judged, the gradient that the attack ")
    assert "leaves 0.0 % (median)" in whole
    assert followed.startswith("follows in 2 draws other than those of the judge leaves ")
    assert ("breaks images that" if more else "breaks none of the images that") in followed


class Recorded(Sample):
    """Notes what it is attacked with."""

    def attack(self, attack, rows=None):
        SEEN.append(attack)
        return super().attack(attack, rows)


SEEN = []


@pytest.mark.parametrize(("randomised", "samples"), [(True, 3), (False, 1)])
def test_without_a_limit_the_draws_are_averaged_too(randomised, samples):
    sample = random_sample(0.5)
    given = {item.name: getattr(sample, item.name) for item in fields(Sample)}
    if not randomised:
        given["victim"] = Victim(nn.Sequential(nn.Flatten(), nn.Linear(36, 2)).eval())
    SEEN.clear()
    model_checks.without_limit([Curve(PGD(gradient=Gradient(samples=3)), (0.1,))], Recorded(**given))
    assert [attack.gradient for attack in SEEN] == [Gradient(samples=samples)]


def test_more_draws_explain_more():
    sample = random_sample(1.0, draws=64)
    found = []
    for samples in (1, 64):
        followed = gradient_checks._decisive(Probe(PGD(0.1), None), sample, gradient_checks._of_the_attack(samples))
        found.append(followed.median)
    assert found[1] < 0.5 * found[0]


def test_the_trace_and_the_planted_weakness_are_those_of_the_attack_on_the_random_model():
    sample = random_sample(0.5)
    attack = PGD(0.005, steps=6, gradient=Gradient(samples=3))
    plain = sample.attack(attack)
    rows = plain.robust.nonzero().flatten()
    assert len(rows) > 0
    way = trace(attack, sample, rows)
    assert way.margins.shape == (7, len(rows))
    assert way.gradients.shape == (6 * 3, len(rows))
    assert torch.equal(way.result.images, plain.images[rows])
    part = sample.part(rows)
    planted = PlantedVictim(sample.victim, part.targets, torch.zeros(len(rows)))
    assert (planted.randomised, planted.passes, planted.guarded) == (True, 2, False)
    with torch.no_grad():
        assert torch.equal(planted.fresh(1, 2)(part.images), sample.victim.fresh(1, 2)(part.images))
        assert not torch.equal(planted.fresh(1, 2)(part.images), planted.fresh(1, 3)(part.images))


# Stand-ins


def test_a_stand_in_that_leads_uphill_fails_nothing(job, tmp_path):
    module = job.BrighterHalf(edge=BPDA(twelve_levels)).eval()
    found = evaluated(job, Victim(module), tmp_path, PLAIN)
    assert failed(found) == set()
    told = found["C17"][1]
    assert "the gradient leaves 0.0 % (median) of the change of the margin unexplained" in told
    assert "where 1 stand-in takes the place of what it stands for; compared with the model as it is judged" in told
    assert "breaks none of the images that withstand" in told
    assert not any(getattr(part, "_replaced", False) for part in module.modules())


def test_something_else_that_is_hidden_is_found_beside_a_stand_in(job, tmp_path):
    module = job.BrighterHalf(edge=nn.Sequential(BPDA(twelve_levels), Detached())).eval()
    found = evaluated(job, Victim(module), tmp_path, PLAIN)
    assert failed(found) == {"C17"}
    assert "the gradient leaves 90.0 % (median)" in found["C17"][1]


def test_a_stand_in_that_leads_elsewhere_is_found(job, tmp_path):
    module = job.BrighterHalf(edge=BPDA(twelve_levels, lambda images: 1 - images)).eval()
    found = evaluated(job, Victim(module), tmp_path, PLAIN)
    assert {"C6", "C17"} <= failed(found)
    assert found["C17"][1].count("breaks images that withstand") == 1
    assert "the gradient leaves 0.0 % (median)" in found["C17"][1]


def test_stand_ins_are_in_place_while_they_are_asked_for():
    layer = BPDA(torch.round, torch.sin)
    net = nn.Sequential(BPDA(torch.round), nn.Sequential(layer))
    x = torch.tensor([[0.4, 0.7]])
    with stand_ins_in_place(net) as count:
        assert count == 2
        torch.testing.assert_close(net(x), torch.sin(x))
    assert torch.equal(net(x), torch.round(x))
    with pytest.raises(KeyError), stand_ins_in_place(net):
        raise KeyError
    assert torch.equal(net(x), torch.round(x))


# Surrogates in a whole evaluation


def test_a_surrogate_that_was_named_is_made_use_of(job, tmp_path):
    surrogate = Surrogate(Victim(job.BrighterHalf(scale=3.0, edge=nn.AvgPool2d(3, 1, 1)).eval()), "tests:other")
    curves = (Curve(PGD(steps=4, stop_early=False), job.NOISE, "transfer-pgd", surrogate), Curve(PLAIN, job.NOISE))
    found = both(job, curves, tmp_path / "both")
    assert "pgd made on tests:other 0 of the" in found["C6"][1]
    assert "do not transfer" in found["C18"][1]
    assert failed(found) == set()
    alone = both(job, curves[:1], tmp_path / "alone")
    assert alone["C6"][0] == "not run"
    assert alone["C18"][0] == "passed"  # both look at the same halves
    assert "0 of the" in alone["C18"][1]


def both(job, curves, folder):
    store = evaluate(job.evaluation(curves=curves), folder)
    table = store.query('SELECT "check", outcome, sentence FROM rows', kind="check")
    return {row[0]: row[1:] for row in zip(*table.values(), strict=True)}


def test_another_model_that_looks_elsewhere_tells_nothing_alone(job, tmp_path):
    class UpperHalf(nn.Module):
        """Right about the images for another reason: what is done to it is not seen by the victim."""

        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(20.0, dtype=torch.float64))

        def forward(self, images):
            corner = images[:, :, :1, [0, -1]].double()
            return corner.mean(dim=(1, 2)) * self.scale

    surrogate = Surrogate(Victim(UpperHalf().eval()), "tests:corners")
    curves = (Curve(PGD(steps=4, stop_early=False), job.NOISE, "transfer-pgd", surrogate),)
    found = both(job, curves, tmp_path / "out")
    assert found["C18"][0] == "failed"
    assert "do not transfer" in found["C18"][1]
