import math

import pytest
import torch
from torch import nn

from medadv.attacks import Search, Status, maximise
from medadv.models import Victim
from medadv.objectives import CrossEntropy, Margin
from medadv.perturbations import Additive, SplineBiasField

UNIT = (0.0, 1.0)
FAMILIES = {
    "linf": Additive(0.05),
    "l2": Additive(0.3, "l2"),
    "bias": SplineBiasField(1.3, spacing=3),
    "smooth bias": SplineBiasField(1.3, spacing=3, smoothness=1.0),
}


def run(search, family, victim, x, y, objective=None, ids=None):
    ids = torch.arange(len(x)) if ids is None else ids
    return maximise(search, family, objective or CrossEntropy(), victim, x, y, ids)


@pytest.mark.parametrize("rule", ["sign", "l2", "adam"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_results_do_not_depend_on_batch_size_or_order(lab, rule, family, momentum):
    if rule == "adam" and momentum > 0:
        with pytest.raises(ValueError, match="momentum must be 0"):
            Search(5, rule=rule, momentum=momentum)
        return
    victim = lab.curved_victim()
    x = lab.images_in(UNIT, (64, 1, 8, 8))
    y = lab.answers(victim, x)
    y[::7] = (y[::7] + 1) % 3
    search = Search(5, rule=rule, momentum=momentum, restarts=2)
    whole = run(search, FAMILIES[family], victim, x, y)
    shuffled = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    orders = [torch.arange(64).split(7), torch.arange(64).split(1)[:6], [shuffled]]
    for parts in orders:
        for rows in parts:
            part = run(search, FAMILIES[family], victim, x[rows], y[rows], ids=rows)
            for name in ("images", "status", "predictions", "forwards", "backwards", "step", "distance"):
                assert torch.equal(getattr(part, name), getattr(whole, name)[rows]), name
            torch.testing.assert_close(part.loss, whole.loss[rows], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("stop_early", [True, False])
def test_what_is_returned_is_what_the_victim_says_of_the_image(lab, family, stop_early):
    victim = lab.curved_victim()
    x = lab.images_in(UNIT, (40, 1, 8, 8))
    y = lab.answers(victim, x)
    y[:5] = (y[:5] + 1) % 3
    perturbation = FAMILIES[family]
    result = run(Search(4, restarts=2, stop_early=stop_early), perturbation, victim, x, y)
    logits = victim(result.images).detach()
    assert torch.equal(logits.argmax(1), result.predictions)
    assert torch.equal(result.predictions != y, result.status != Status.FAILED)
    assert torch.equal(result.clean_predictions, lab.answers(victim, x))
    expected = CrossEntropy()(logits, y) - perturbation.penalty(x, result.parameters)
    torch.testing.assert_close(result.loss, expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(perturbation.apply(x, result.parameters, UNIT), result.images)
    assert torch.equal(perturbation.distance(x, result.parameters, UNIT), result.distance)
    assert {0, 1, 2} == set(result.status.tolist())


@pytest.mark.parametrize("family", FAMILIES)
def test_images_already_wrong_stay_as_they_are(lab, family):
    victim = lab.curved_victim()
    x = lab.images_in(UNIT, (6, 1, 8, 8))
    y = (lab.answers(victim, x) + 1) % 3
    result = run(Search(4, restarts=3), FAMILIES[family], victim, x, y)
    assert result.status.tolist() == [Status.ALREADY_WRONG] * 6
    assert torch.equal(result.images, x)
    assert result.distance.tolist() == [1.0 if "bias" in family else 0.0] * 6
    assert result.forwards.tolist() == [1] * 6
    assert result.backwards.tolist() == [0] * 6
    assert result.step.tolist() == [-1] * 6
    assert result.images.data_ptr() != x.data_ptr()
    torch.testing.assert_close(result.loss, CrossEntropy()(victim(x), y).detach())


@pytest.mark.parametrize("restarts", [1, 3])
@pytest.mark.parametrize("stop_early", [True, False])
@pytest.mark.parametrize("random_start", [True, False])
def test_counts_are_those_of_a_counting_model(lab, restarts, stop_early, random_start):
    if restarts > 1 and not random_start:
        with pytest.raises(ValueError, match="restarts must be 1"):
            Search(4, restarts=restarts, random_start=random_start)
        return
    victim = lab.curved_victim()
    counting = lab.Counting(victim.module).eval()
    counted = Victim(counting, mean=victim.mean, std=victim.std)
    x = lab.images_in(UNIT, (40, 1, 8, 8))
    y = lab.answers(victim, x)
    y[:5] = (y[:5] + 1) % 3
    search = Search(4, restarts=restarts, stop_early=stop_early, random_start=random_start)
    result = run(search, Additive(0.03), counted, x, y)
    assert int(result.forwards.sum()) == counting.shown
    assert int(result.backwards.sum()) == counting.differentiated
    # The floor: per restart, every step one forward and one backward, and one forward at the end.
    failed = result.robust
    assert failed.any()
    assert set(result.forwards[failed].tolist()) == {1 + restarts * 5}
    assert set(result.backwards[failed].tolist()) == {restarts * 4}
    if stop_early:
        fooled = result.success
        assert fooled.any()
        whole_restarts = result.backwards[fooled] // 4
        last = result.step[fooled]
        ended_at_the_end = last == 4
        whole_restarts = torch.where(ended_at_the_end, whole_restarts - 1, whole_restarts)
        assert torch.equal(result.backwards[fooled], 4 * whole_restarts + last)
        assert torch.equal(result.forwards[fooled], 1 + 5 * whole_restarts + last + 1)


def test_the_step_is_that_of_the_first_wrong_answer(lab):
    victim, weight = lab.linear_victim((1, 4, 4))
    x = torch.full((1, 1, 4, 4), 0.5)
    difference = weight[1] - weight[0]
    # Each sign step of 0.01 adds 0.01 |w|_1 to the margin; the third must be the one that crosses zero.
    gain = 0.01 * float(difference.abs().sum())
    with torch.no_grad():
        bias = victim.module[1].bias
        bias[0] = float((difference * 0.5).sum()) + 2.5 * gain
    search = Search(10, step_size=0.1, random_start=False)
    result = run(search, Additive(0.1), victim, x, torch.tensor([0]))
    assert result.status.tolist() == [Status.SUCCESS]
    assert result.step.tolist() == [3]
    assert result.backwards.tolist() == [3]
    assert result.forwards.tolist() == [1 + 4]
    assert result.distance.tolist() == pytest.approx([0.03])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_failed_attack_returns_the_highest_objective_it_saw(lab, family):
    victim = lab.curved_victim()
    x = lab.images_in(UNIT, (30, 1, 8, 8))
    y = lab.answers(victim, x)
    seen = []

    class Watching(nn.Module):
        def forward(self, images):
            logits = victim.module(images.double())
            seen.append(logits.detach().float())
            return logits

    watched = Victim(Watching().eval(), mean=victim.mean, std=victim.std)
    # A long last step makes the last image worse than an earlier one for some.
    result = run(Search(6, step_size=1.0, stop_early=False), FAMILIES[family], watched, x, y, Margin())
    failed = result.robust
    assert failed.any()
    if family != "smooth bias":
        margins = torch.stack([Margin()(logits, y) for logits in seen[1:]])
        assert torch.equal(result.loss[failed], margins.amax(0)[failed])
        assert (margins.argmax(0)[failed] < len(margins) - 1).any()
    assert float(result.images[failed].std(dim=(1, 2, 3)).min()) > 0.1


def test_without_early_stop_the_loss_is_higher_and_the_success_stays(lab):
    victim = lab.curved_victim()
    x = lab.images_in(UNIT, (40, 1, 8, 8))
    y = lab.answers(victim, x)
    early = run(Search(8), Additive(0.05), victim, x, y)
    late = run(Search(8, stop_early=False), Additive(0.05), victim, x, y)
    assert torch.equal(early.status, late.status)
    assert torch.equal(early.step, late.step)
    assert bool((late.loss >= early.loss - 1e-6).all())
    assert bool((late.loss[late.success] > early.loss[late.success] + 1e-3).any())


def test_restarts_can_only_help(lab):
    victim = lab.curved_victim()
    x = lab.images_in(UNIT, (64, 1, 8, 8))
    y = lab.answers(victim, x)
    one, three = (run(Search(2, restarts=n), Additive(0.03), victim, x, y) for n in (1, 3))
    assert not bool((one.success & ~three.success).any())
    assert bool((three.loss[three.robust] >= one.loss[three.robust]).all())
    assert bool((three.loss[three.robust] > one.loss[three.robust]).any())


def test_penalty_makes_smoother_fields(lab):
    victim = lab.curved_victim()
    x = lab.images_in(UNIT, (8, 1, 12, 12))
    y = lab.answers(victim, x)
    family = SplineBiasField(1.5, spacing=2, smoothness=1.0)
    search = Search(10, rule="adam", stop_early=False)
    free = run(search, SplineBiasField(1.5, spacing=2), victim, x, y)
    held = run(search, SplineBiasField(1.5, spacing=2, smoothness=100.0), victim, x, y)
    energies = [family.penalty(x, result.parameters) for result in (free, held)]
    assert float((energies[1] / energies[0]).median()) < 0.7


def test_the_model_is_left_as_it_was(lab):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)).eval()
    net[0].weight.requires_grad_(False)
    net[4].bias.grad = torch.ones(3)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    flags = [(p.requires_grad, None if p.grad is None else p.grad.clone()) for p in net.parameters()]
    victim = Victim(net)
    x = lab.images_in(UNIT, (6, 1, 8, 8))
    y = lab.answers(victim, x)
    for family in FAMILIES.values():
        run(Search(3), family, victim, x, y)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    for parameter, (required, gradient) in zip(net.parameters(), flags, strict=True):
        assert parameter.requires_grad == required
        assert (parameter.grad is None) == (gradient is None)
        assert gradient is None or torch.equal(parameter.grad, gradient)
    for part in net.modules():
        assert not part.training
        assert not part._forward_hooks
        assert not part._forward_pre_hooks
        assert not part._backward_hooks


def test_inputs_are_left_alone_and_results_carry_no_graph(lab):
    victim = lab.curved_victim()
    x = lab.images_in(UNIT, (6, 1, 8, 8)).requires_grad_()
    y = lab.answers(victim, x)
    before, labels = x.detach().clone(), y.clone()
    result = run(Search(3), Additive(0.1), victim, x, y)
    assert torch.equal(x.detach(), before)
    assert x.grad is None
    assert torch.equal(y, labels)
    tensors = [result.images, result.loss, result.distance, *result.parameters.values()]
    assert not any(tensor.requires_grad for tensor in tensors)


def test_an_in_place_first_layer_does_not_touch_what_is_returned(lab):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Hardtanh(-0.2, 0.2, inplace=True), nn.Flatten(), nn.Linear(64, 3)).eval()
    victim = Victim(net, bounds=(-1, 1))
    x = lab.images_in((-1.0, 1.0), (6, 1, 8, 8))
    before = x.clone()
    y = lab.answers(victim, x)
    result = run(Search(3), Additive(0.01), victim, x, y)
    assert torch.equal(x, before)
    assert float((result.images - x).abs().max()) <= 0.02


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_works_where_gradients_are_switched_off(lab, context):
    victim = lab.curved_victim()
    x = lab.images_in(UNIT, (10, 1, 8, 8))
    y = lab.answers(victim, x)
    expected = run(Search(4), Additive(0.05), victim, x, y)
    with context():
        inside = run(Search(4), Additive(0.05), victim, x + 0, y + 0)
    assert torch.equal(inside.images, expected.images)
    assert torch.equal(inside.status, expected.status)


def test_non_contiguous_images(lab):
    victim = lab.curved_victim(channels=3)
    x = lab.images_in(UNIT, (6, 3, 8, 8))
    y = lab.answers(victim, x)
    expected = run(Search(4), Additive(0.05), victim, x, y)
    strided = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert not strided.is_contiguous()
    result = run(Search(4), Additive(0.05), victim, strided, y)
    assert torch.equal(result.status, expected.status)
    torch.testing.assert_close(result.images, expected.images)


class NotANumber(nn.Module):
    """A linear model with a pole: the square root has no gradient at zero, or no value below."""

    def __init__(self, shift):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(16, 2, generator=torch.Generator().manual_seed(0)))
        self.shift = shift

    def forward(self, images):
        flat = images.flatten(1)
        poisoned = ((flat[:, :1] - self.shift).abs() - 1e-9 if self.shift else flat[:, :1]).sqrt()
        return flat @ self.weight + poisoned


def test_a_gradient_that_is_not_finite_is_refused():
    x = torch.full((3, 1, 4, 4), 0.5)
    x[1] = 0.0
    victim = Victim(NotANumber(0.0).eval())
    with torch.no_grad():
        y = victim(x).argmax(1)
    with pytest.raises(ValueError, match="the gradient must be finite, got NaN or infinity for example 17 at step 0"):
        run(Search(3, random_start=False), Additive(0.1), victim, x, y, ids=torch.tensor([16, 17, 18]))


def test_an_objective_that_is_not_finite_is_refused():
    x = torch.full((3, 1, 4, 4), 0.5)
    x[1] = 0.3
    victim = Victim(NotANumber(0.3).eval())
    y = torch.zeros(3, dtype=torch.int64)
    with torch.no_grad():
        y = victim(torch.full_like(x, 0.5)).argmax(1)
    with pytest.raises(ValueError, match="the objective must be finite, got NaN or infinity for example 1 at step 0"):
        run(Search(3, random_start=False), Additive(0.1), victim, x, y)


def test_numbers_whose_sum_is_not_finite_are_not_refused():
    x = torch.full((3, 1, 4, 4), 0.5)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2, bias=False)).eval()
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([[9e36], [-9e36]]).expand(2, 16))
    y = torch.zeros(3, dtype=torch.int64)
    result = run(Search(2, random_start=False), Additive(0.1), Victim(net), x, y, objective=Margin())
    assert torch.isfinite(result.loss).all()
    assert torch.isinf(result.loss.abs().sum())


class Detached(nn.Module):
    def __init__(self, constant):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(16, 3))
        self.constant = constant

    def forward(self, images):
        logits = images.flatten(1).detach() @ self.weight
        return logits if self.constant else logits.detach()


@pytest.mark.parametrize("constant", [True, False])
def test_a_model_without_gradient_to_its_input_is_refused(constant):
    victim = Victim(Detached(constant).eval())
    x = torch.rand(3, 1, 4, 4)
    with torch.no_grad():
        y = victim(x).argmax(1)
    with pytest.raises(ValueError, match="the model must give a gradient to its input"):
        run(Search(3, random_start=False), Additive(0.01), victim, x, y)


def test_a_flat_model_withstands_and_keeps_its_start(lab):
    class Flat(nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :2] * 0 + torch.tensor([1.0, 0.0])

    x = lab.images_in(UNIT, (4, 1, 4, 4))
    for rule in ("sign", "l2", "adam"):
        result = run(
            Search(3, rule=rule, random_start=False), Additive(0.1), Victim(Flat().eval()), x, torch.zeros(4).long()
        )
        assert result.robust.all()
        assert torch.equal(result.images, x)


def test_default_step_lengths():
    assert Search(20).step_length == 0.125
    assert Search(1).step_length == 1.0
    assert Search(2).step_length == 1.0
    assert Search(10, step_size=0.01).step_length == 0.01


def test_search_is_a_value():
    assert Search(5) == Search(5)
    assert hash(Search(5, step_size=1)) == hash(Search(5, step_size=1.0))
    assert Search(5) != Search(6)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"steps": 0}, ValueError, "steps must be at least 1, got 0"),
        ({"steps": 2.5}, TypeError, "steps must be a whole number, got 2.5"),
        ({"steps": True}, TypeError, "steps must be a whole number, got True"),
        ({"steps": 5, "rule": "sgd"}, ValueError, "rule must be one of sign, l2, l1, adam, got 'sgd'"),
        ({"steps": 5, "step_size": 0}, ValueError, "step_size must be above 0"),
        ({"steps": 5, "step_size": math.nan}, ValueError, "step_size must be finite"),
        ({"steps": 5, "momentum": -0.1}, ValueError, "momentum must be at least 0"),
        ({"steps": 5, "momentum": 0.9, "rule": "adam"}, ValueError, "momentum must be 0 for rule"),
        ({"steps": 5, "restarts": 0}, ValueError, "restarts must be at least 1"),
        ({"steps": 5, "restarts": 2, "random_start": False}, ValueError, "restarts must be 1 without random_start"),
        ({"steps": 5, "random_start": 1}, TypeError, "random_start must be True or False"),
        ({"steps": 5, "stop_early": None}, TypeError, "stop_early must be True or False"),
        ({"steps": 5, "seed": -1}, ValueError, "seed must be at least 0"),
        ({"steps": 5, "seed": 2**64}, ValueError, "seed must be below 18446744073709551616"),
        ({"steps": 5, "seed": 0.0}, TypeError, "seed must be a whole number"),
    ],
)
def test_wrong_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        Search(**arguments)


class WithoutSteps(Additive):
    """The same noise, whose steps are made and projected one after the other."""

    def step_of(self, rule):
        return None


@pytest.mark.parametrize("momentum", [0.0, 1.0])
@pytest.mark.parametrize("random_start", [False, True])
@pytest.mark.parametrize("stop_early", [False, True])
@pytest.mark.parametrize("batch_size", [None, 5])
@pytest.mark.parametrize(("norm", "rule", "eps"), [("linf", "sign", 0.05), ("l2", "l2", 0.4)])
def test_a_step_in_one_pass_is_a_step_and_a_projection(
    lab, momentum, random_start, stop_early, batch_size, norm, rule, eps
):
    victim = lab.curved_victim()
    x = lab.images_in(UNIT, (16, 1, 8, 8))
    y = lab.answers(victim, x)
    if batch_size is not None:
        victim = victim.in_batches_of(batch_size)
    search = Search(6, rule=rule, momentum=momentum, random_start=random_start, stop_early=stop_early)
    fused = run(search, Additive(eps, norm), victim, x, y)
    apart = run(search, WithoutSteps(eps, norm), victim, x, y)
    if norm == "linf":
        assert torch.equal(fused.images, apart.images)
    else:  # its sums are rounded once
        torch.testing.assert_close(fused.images, apart.images, rtol=0, atol=2e-5)
    assert torch.equal(fused.step, apart.step)
    assert float(fused.distance.min()) > 0
    assert float(fused.distance.max()) <= eps


@pytest.mark.parametrize(("norm", "rule"), [("linf", "l2"), ("l2", "sign"), ("l1", "l1"), ("linf", "adam")])
def test_other_steps_are_not_made_in_one_pass(norm, rule):
    assert Additive(0.1, norm).step_of(rule) is None
