import pytest
import torch

from medadv.attacks.minimum_norm.ball import to_l0_ball, to_l1_ball_in_box, to_linf_ball
from medadv.attacks.minimum_norm.length import length
from medadv.perturbations.l1_ball import project_onto_l1

NORMS = ("linf", "l1")


def to_ball(noise, radius, norm):
    if norm == "l1":
        anywhere = torch.full_like(noise, torch.inf)
        return to_l1_ball_in_box(noise, -anywhere, anywhere, radius)
    return {"linf": to_linf_ball, "l0": to_l0_ball}[norm](noise, radius)


def points(count=30):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 2, 3, 4, generator=generator), torch.rand(count, generator=generator).double() * 4


@pytest.mark.parametrize("norm", NORMS)
def test_the_result_lies_in_the_ball_and_points_inside_stay(norm):
    noise, radius = points()
    inside = length(noise, norm) <= radius
    projected = to_ball(noise, radius, norm)
    assert bool((length(projected, norm) <= radius * (1 + 1e-6)).all())
    torch.testing.assert_close(length(projected, norm)[~inside], radius[~inside], rtol=1e-6, atol=0)
    torch.testing.assert_close(projected[inside], noise[inside])
    assert norm == "l1" or inside.any()


@pytest.mark.parametrize("norm", NORMS)
def test_no_other_point_of_the_ball_is_nearer(norm):
    # The projection onto a convex set: <noise - p, q - p> <= 0 for every q of the set.
    noise, radius = points()
    projected = to_ball(noise, radius, norm)
    others, _ = points(60)
    for other in others:
        candidate = to_ball(other.expand_as(noise), radius * 0.99, norm)
        angle = ((noise - projected) * (candidate - projected)).flatten(1).sum(1)
        assert float(angle.max()) <= 1e-5


def test_l0_keeps_the_largest_entries():
    noise, radius = points()
    radius = (4 * radius).floor()
    projected = to_ball(noise, radius + 0.5, "l0")
    for row, count in enumerate(radius.int().tolist()):
        expected = noise[row].flatten().clone()
        expected[expected.abs().argsort(descending=True)[count:]] = 0
        assert torch.equal(projected[row].flatten(), expected)
    # The nearest point: any other choice of entries leaves out more.
    left_out = (noise - projected).flatten(1).square().sum(1)
    for other in points(60)[0]:
        chosen = to_ball(other.expand_as(noise), radius, "l0") != 0
        assert bool((left_out <= (noise * ~chosen).flatten(1).square().sum(1) + 1e-6).all())


def test_l0_takes_the_first_of_equal_entries():
    noise = torch.tensor([[1.0, -1.0, 1.0, 0.5]])
    assert to_ball(noise, torch.tensor([2.0]), "l0").tolist() == [[1.0, -1.0, 0.0, 0.0]]


@pytest.mark.parametrize("norm", [*NORMS, "l0"])
def test_a_radius_of_zero_and_infinity(norm):
    noise, _ = points(3)
    assert torch.equal(to_ball(noise, torch.zeros(3).double(), norm), torch.zeros_like(noise))
    torch.testing.assert_close(to_ball(noise, torch.full((3,), torch.inf).double(), norm), noise)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.99])
def test_l1_is_what_sorting_finds(share):
    # Duchi et al. (2008), with ties.
    noise = torch.randn(40, 500, generator=torch.Generator().manual_seed(0)).double()
    noise[:20] = (noise[:20] * 4).round() / 4
    sizes = noise.abs()
    radius = share * sizes.sum(1)
    descending = sizes.sort(dim=1, descending=True).values
    cuts = (descending.cumsum(1) - radius[:, None]) / torch.arange(1, 501)
    last = (descending > cuts).sum(1) - 1
    expected = noise.sign() * (sizes - cuts.gather(1, last[:, None])).clamp_min(0)
    torch.testing.assert_close(to_ball(noise, radius, "l1"), expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(to_ball(noise.float(), radius, "l1"), expected.float(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("norm", [*NORMS, "l0"])
def test_rows_do_not_depend_on_each_other(norm):
    noise, radius = points()
    radius = radius.floor() if norm == "l0" else radius
    whole = to_ball(noise, radius, norm)
    for row in range(30):
        part = slice(row, row + 1)
        assert torch.equal(to_ball(noise[part], radius[part], norm), whole[part])


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 2.0])
def test_l1_in_a_box_is_what_sorting_finds(share):
    noise, _ = points(40)
    sides = torch.rand(2, *noise.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    # Some entries sit at the bounds.
    low, high = (sides - 0.2).clamp_min(0).mul(1.5).to(noise.dtype)
    low = -low
    radius = share * noise.double().clamp(low.double(), high.double()).flatten(1).abs().sum(1)
    found = to_l1_ball_in_box(noise, low, high, radius)
    flat = [values.flatten(1) for values in (noise, low, high)]
    expected = [
        project_onto_l1(*(values[[row]] for values in flat), float(radius[row])).reshape(noise.shape[1:])
        for row in range(len(noise))
    ]
    torch.testing.assert_close(found.double(), torch.stack(expected), rtol=1e-5, atol=2e-6)
    assert bool(((found >= low) & (found <= high)).all())
    for part in (slice(0, 1), slice(3, 10)):
        assert torch.equal(to_l1_ball_in_box(noise[part], low[part], high[part], radius[part]), found[part])
