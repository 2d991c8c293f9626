import pytest
import torch

from medadv.attacks.gradients import slope
from medadv.attacks.minimum_norm.boundary import Boundary, first_guess, rivals
from medadv.attacks.minimum_norm.hunt import Hunt
from medadv.attacks.minimum_norm.length import length


def hunt_of(victim, x, y, norm="l2"):
    with torch.no_grad():
        logits = victim(x)
    return Hunt(victim, x, y, torch.arange(len(x)), logits, torch.zeros(len(x)), norm)


def test_the_slope_is_that_of_autograd():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(5, 3, generator=generator)
    x = torch.randn(4, 5, generator=generator).requires_grad_()
    expected = torch.stack([torch.autograd.functional.jacobian(lambda row: (row @ weight).sin(), row) for row in x])
    torch.testing.assert_close(slope((x @ weight).sin()[:, 1], x), expected[:, 1])
    shares = torch.randn(4, 3, generator=generator)
    torch.testing.assert_close(slope((x @ weight).sin(), x, shares), torch.einsum("mk,mki->mi", shares, expected))


def test_rivals_are_the_most_likely_wrong_classes():
    logits = torch.tensor([[5.0, 1.0, 4.0, 2.0], [0.0, 3.0, 1.0, 2.0]])
    targets = torch.tensor([0, 3])
    assert rivals(logits, targets, 2).tolist() == [[2, 3], [1, 2]]
    assert rivals(logits, targets, 9).tolist() == [[2, 3, 1], [1, 2, 0]]


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_the_hyperplanes_of_a_linear_model_are_its_boundaries(lab, norm):
    victim, weight = lab.linear_victim((1, 4, 4), classes=4)
    x = lab.images_in((0.0, 1.0), (6, 1, 4, 4))
    y = lab.answers(victim, x)
    hunt = hunt_of(victim, x, y, norm)
    others = rivals(hunt.logits, y, 3)
    noise = 0.01 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    boundary = Boundary.at(hunt, hunt.rows, 0, noise, others)
    for row in range(6):
        expected = (weight[others[row]] - weight[y[row]]).float()
        torch.testing.assert_close(boundary.weight[row], expected)
    # Seen from the clean image, the rise is the clean gap.
    gaps = hunt.logits.gather(1, y[:, None]) - hunt.logits.gather(1, others)
    torch.testing.assert_close(boundary.seen_from(-noise).rise.float(), gaps, rtol=1e-4, atol=1e-6)
    low, high = hunt.room(hunt.rows)
    for rival in range(3):
        plane = boundary.of_class(torch.full((6,), rival))
        moves, costs = plane.moves(low - noise, high - noise, norm)
        with torch.no_grad():
            there = victim((x + noise + moves).clamp(0, 1))
        gap = there.gather(1, others[:, [rival]]) - there.gather(1, y[:, None])
        reached = costs.isfinite()
        torch.testing.assert_close(gap[reached], torch.zeros_like(gap[reached]), rtol=0, atol=1e-5)


def test_the_first_guess_goes_to_the_nearest_class_not_the_likeliest(lab):
    # Class 1 is likelier, but its logit hardly depends on the image.
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3)).eval()
    with torch.no_grad():
        net[1].weight.copy_(torch.stack([torch.zeros(16), torch.full((16,), 0.01), torch.full((16,), 1.0)]))
        net[1].bias.copy_(torch.tensor([1.0, 0.9, -8.0]))
    victim = lab.linear_victim((1, 4, 4))[0]
    victim.module = net
    x = torch.full((2, 1, 4, 4), 0.5)
    hunt = hunt_of(victim, x, torch.zeros(2, dtype=torch.int64))
    guess, rival_count = first_guess(hunt, hunt.rows, 3)
    assert rival_count == 2
    with torch.no_grad():
        assert victim(x + guess).argmax(1).tolist() == [2, 2]
    assert hunt.record.forwards.tolist() == [1, 1]
    assert hunt.record.backwards.tolist() == [2, 2]


def test_where_no_boundary_can_be_reached_the_cost_is_finite_and_the_box_is_used(lab):
    victim, _ = lab.linear_victim((1, 4, 4), bias=50.0)
    x = lab.images_in((0.0, 1.0), (3, 1, 4, 4))
    hunt = hunt_of(victim, x, torch.zeros(3, dtype=torch.int64))
    guess = x + first_guess(hunt, hunt.rows, 2)[0]
    assert set(guess.flatten().tolist()) == {0.0, 1.0}


def many_planes(rows=60, classes=6, furthest=0.9):
    """Hyperplanes of unlike weights, and narrow boxes that are shut on one side, so that the box decides."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(rows, classes, 1, 4, 5, generator=generator)
    weight = weight * torch.rand(rows, classes, 1, 1, 1, generator=generator) ** 2
    weight[0], weight[1, 0] = 0, 0
    rise = furthest * torch.rand(rows, classes, generator=generator).double() - 0.1
    rise[2, 1] = 0
    room = torch.rand(rows, 1, 4, 5, generator=generator) ** 3
    up = torch.rand(rows, 1, 4, 5, generator=generator) < 0.5
    return Boundary(weight, rise), -room * ~up, room * up


@pytest.mark.parametrize("norm", ["linf", "l2", "l1", "l0"])
def test_the_nearest_move_is_the_shortest_of_those_to_all_hyperplanes(norm):
    boundary, low, high = many_planes()
    count = len(low)
    every = [boundary.of_class(torch.full((count,), rival)).moves(low, high, norm) for rival in range(6)]
    costs = torch.stack([cost for _, cost in every], dim=1)
    move, nearest = boundary.nearest_move(low, high, norm)
    assert torch.equal(costs.gather(1, nearest[:, None])[:, 0], costs.amin(1))
    assert torch.equal(move, torch.stack([each for each, _ in every], dim=1)[torch.arange(count), nearest])
    if norm != "l0":
        # Somewhere the box decides.
        dual = {"linf": 1, "l2": 2, "l1": torch.inf}[norm]
        far = boundary.rise.abs() / torch.linalg.vector_norm(boundary.weight.flatten(2), dual, dim=2)
        assert bool((far.argmin(1) != nearest)[3:].any())
    for row in range(10):
        part = slice(row, row + 1)
        alone, _ = Boundary(boundary.weight[part], boundary.rise[part]).nearest_move(low[part], high[part], norm)
        assert torch.equal(alone, move[part])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_straight_move_goes_to_the_nearest_hyperplane_that_the_box_reaches(norm):
    boundary, low, high = many_planes(furthest=3.0)
    weight = boundary.weight.double()
    reach = torch.where(weight > 0, weight * high.unsqueeze(1), weight * low.unsqueeze(1)).flatten(2).sum(2)
    anywhere = boundary.rise.abs() / torch.linalg.vector_norm(weight.flatten(2), {"linf": 1, "l2": 2}[norm], dim=2)
    far = torch.where((reach >= boundary.rise) & anywhere.isfinite(), anywhere, torch.inf)
    way, distance = boundary.straight_move(low, high, norm)
    torch.testing.assert_close(distance, far.amin(1), rtol=1e-6, atol=0)
    assert distance.isinf().any()
    # Somewhere the very nearest is out of reach.
    assert bool((torch.where(anywhere.isfinite(), anywhere, torch.inf).amin(1) < far.amin(1))[3:].any())
    finite = distance.isfinite()
    torch.testing.assert_close(length(way, norm)[finite], torch.ones(int(finite.sum())).double())
    along = (weight[torch.arange(len(way)), far.argmin(1)] * way).flatten(1).sum(1) * distance
    chosen_rise = boundary.rise[torch.arange(len(way)), far.argmin(1)].abs()
    torch.testing.assert_close(along[finite], chosen_rise[finite], rtol=1e-5, atol=1e-9)


def test_examples_are_gathered_once(lab):
    victim, _ = lab.linear_victim((1, 4, 4))
    x = lab.images_in((0.0, 1.0), (6, 1, 4, 4))
    hunt = hunt_of(victim, x, lab.answers(victim, x))
    some = torch.tensor([1, 4])
    assert hunt.examples(some) is hunt.examples(some)
    assert torch.equal(hunt.examples(some).images, x[some])
    assert hunt.examples(some).ids.tolist() == [1, 4]
    assert torch.equal(hunt.examples(hunt.rows).images, x)
    low, high = hunt.room(torch.tensor([2]))
    assert torch.equal(low, -x[2:3])
    assert torch.equal(high, 1 - x[2:3])
