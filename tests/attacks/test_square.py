import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from medadv.attacks import PGD, Draw, RandomNoise, Square, Status
from medadv.attacks.questions import Questions
from medadv.attacks.square_images import LinfImages
from medadv.attacks.square_moves import L2Squares, LinfSquares, bumps
from medadv.models import Victim
from medadv.objectives import Margin
from medadv.perturbations import Additive

UNIT, CT = (0.0, 1.0), (-1024.0, 3071.0)
NORMS = {"linf": 0.05, "l2": 0.3}


class BlackBox(nn.Module):
    """Answers, and refuses to be differentiated."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, images):
        assert not torch.is_grad_enabled()
        assert not images.requires_grad
        return self.module(images).detach()


def hidden(victim):
    return Victim(BlackBox(victim.module).eval(), bounds=victim.bounds, mean=victim.mean, std=victim.std)


def rounded(images, bits, bounds):
    low, high = bounds
    levels = 2**bits - 1
    return (((images.double() - low) / (high - low) * levels).round() / levels * (high - low) + low).float()


@pytest.mark.parametrize("shape", [(1, 6, 6), (3, 5, 4), (1, 3, 4, 5)])
def test_finds_the_worst_case_of_a_linear_model_in_the_linf_ball(lab, shape):
    victim, weight = lab.linear_victim(shape)
    x = 0.3 + 0.4 * lab.images_in(UNIT, (2, *shape))
    y = lab.answers(victim, x)
    direction = torch.stack([weight[1 - label] - weight[label] for label in y])
    needed = (-(direction * x).flatten(1).sum(1) / direction.abs().flatten(1).sum(1)).float()
    for row in range(2):
        rows = slice(row, row + 1)
        for factor, status in ((0.97, Status.FAILED), (1.1, Status.SUCCESS)):
            attack = Square(eps=factor * float(needed[row]), queries=1000)
            assert attack(victim, x[rows], y[rows]).status.tolist() == [status]


@pytest.mark.parametrize("norm", NORMS)
def test_is_weaker_than_gradients_and_stronger_than_noise(lab, norm):
    victim = lab.curved_victim()
    x = lab.images_in(UNIT, (60, 1, 8, 8))
    y = lab.answers(victim, x)
    eps = NORMS[norm]
    found = Square(eps, norm, queries=300)(victim, x, y)
    gradients = PGD(eps, norm, steps=40, restarts=5, objective=Margin())(victim, x, y)
    noise = RandomNoise(eps, norm, draws=300)(victim, x, y)
    assert int((found.success & gradients.robust).sum()) <= 1
    assert int(found.success.sum()) >= int(gradients.success.sum()) - (4 if norm == "linf" else 10)
    assert int(found.success.sum()) >= int(noise.success.sum()) + 5


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", [Square, RandomNoise])
def test_results_do_not_depend_on_batch_size_or_order(lab, norm, kind):
    victim = lab.curved_victim()
    x = lab.images_in(UNIT, (64, 1, 8, 8))
    y = lab.answers(victim, x)
    y[::7] = (y[::7] + 1) % 3
    attack = kind(NORMS[norm], norm, 70)
    whole = attack(victim, x, y)
    assert whole.success.any()
    assert whole.robust.any()
    shuffled = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    for parts in (torch.arange(64).split(7), torch.arange(64).split(1)[:6], [shuffled]):
        for rows in parts:
            part = attack(victim, x[rows], y[rows], ids=rows)
            for name in ("images", "status", "predictions", "forwards", "backwards", "step", "distance"):
                assert torch.equal(getattr(part, name), getattr(whole, name)[rows]), name


@pytest.mark.parametrize("bounds", [UNIT, CT, (-1.0, 1.0)])
@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", [Square, RandomNoise])
def test_keeps_budget_and_bounds_for_any_image(lab, bounds, axes, channels, norm, kind):
    victim = lab.curved_victim(channels=channels, bounds=bounds, axes=axes)
    x = lab.images_in(bounds, (6, channels, *[5, 6, 4][:axes]))
    eps = 0.1
    result = kind(eps, norm, 12)(victim, x, lab.answers(victim, x))
    assert float(result.images.min()) >= bounds[0]
    assert float(result.images.max()) <= bounds[1]
    change = result.images - x
    size = change.abs().max() if norm == "linf" else change.double().flatten(1).norm(dim=1).max()
    assert 0 < float(size) <= eps * (bounds[1] - bounds[0])
    assert float(result.distance.max()) <= eps
    if kind is Square:
        # Nearly all of the budget is used.
        assert float(result.distance.min()) >= eps * (0.999 if norm == "linf" else 0.7)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("norm", NORMS)
def test_the_budget_holds_and_success_stays_after_saving(lab, bits, norm):
    victim = lab.curved_victim()
    x = rounded(lab.images_in(UNIT, (40, 1, 8, 8)), bits, UNIT)
    y = lab.answers(victim, x)
    eps = 16 / 255 if norm == "linf" else 0.5
    result = Square(eps, norm, queries=60)(victim, x, y)
    saved = rounded(result.images, bits, UNIT)
    change = (saved.double() - x.double()).flatten(1)
    length = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
    # 16 / 255 lies on both grids, but for the rounding of float32 images; a length in L2 may grow by rounding.
    room = 1e-7 if norm == "linf" else 0.5 * 8 / (2**bits - 1)
    assert float(length.max()) <= eps + room
    still = lab.answers(victim, saved) != y
    assert float((still & result.success).sum()) >= 0.9 * float(result.success.sum()) > 5


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", [Square, RandomNoise])
def test_asks_for_no_gradient_and_counts_every_question(lab, norm, kind):
    victim = lab.curved_victim()
    counting = lab.Counting(victim.module).eval()
    x = lab.images_in(UNIT, (30, 1, 8, 8))
    y = lab.answers(victim, x)
    y[:4] = (y[:4] + 1) % 3
    counted = hidden(Victim(counting, mean=victim.mean, std=victim.std))
    result = kind(NORMS[norm], norm, 25)(counted, x, y)
    assert int(result.forwards.sum()) == counting.shown
    assert result.backwards.tolist() == [0] * 30
    assert counting.differentiated == 0
    assert set(result.forwards[result.robust].tolist()) == {26}
    assert result.forwards[:4].tolist() == [1] * 4
    assert torch.equal(result.forwards[result.success], result.step[result.success] + 2)
    assert result.success.any()
    with torch.no_grad():
        assert torch.equal(result.predictions, victim(result.images).argmax(1))


def test_a_failed_attack_returns_the_highest_margin_it_saw(lab):
    victim = lab.curved_victim()
    seen = []

    class Watching(nn.Module):
        def forward(self, images):
            seen.append(victim.module(images.double()).detach().float())
            return seen[-1]

    x = lab.images_in(UNIT, (20, 1, 8, 8))
    y = lab.answers(victim, x)
    result = Square(0.004, queries=40)(Victim(Watching().eval(), mean=victim.mean, std=victim.std), x, y)
    rows = result.robust
    assert rows.all()
    margins = torch.stack(
        [(z.scatter(1, y[:, None], -math.inf).amax(1) - z.gather(1, y[:, None])[:, 0]) for z in seen[1:]]
    )
    assert torch.equal(result.loss, margins.amax(0))
    assert bool((margins.amax(0) > margins[0] + 1e-4).any())


@pytest.mark.parametrize("task", ["one logit", "two logits"])
def test_binary_victims(lab, task):
    victim, _ = lab.linear_victim((1, 6, 6), classes={"one logit": 1, "two logits": 2}[task], task="binary")
    x = 0.3 + 0.4 * lab.images_in(UNIT, (20, 1, 6, 6))
    y = lab.answers(victim, x)
    assert Square(1.0, queries=100)(victim, x, y).success.all()
    assert Square(6.0, "l2", queries=100)(victim, x, y).success.all()


def test_a_half_precision_model(lab):
    torch.manual_seed(0)
    victim = Victim(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).to(torch.bfloat16).eval())
    x = lab.images_in(UNIT, (8, 1, 8, 8))
    y = lab.answers(victim, x)
    result = Square(0.1, queries=100)(victim, x, y)
    assert result.images.dtype == torch.float32
    assert float((result.images - x).abs().max()) <= 0.1
    assert result.success.any()


def test_the_schedule_is_that_of_the_paper():
    attack = Square(queries=10_000)
    shares = {0: 1, 10: 1, 11: 2, 50: 2, 51: 4, 200: 4, 500: 8, 1000: 16, 2000: 32, 4000: 64, 6000: 128, 8000: 256}
    # The authors count the squares from 0, after a first query without one.
    assert {square: round(0.8 / attack.share_at(1 + square)) for square in shares} == shares
    assert round(0.8 / attack.share_at(9999)) == 512
    assert Square(queries=5000).share_at(6) == 0.8
    assert Square(queries=5000).share_at(7) == 0.4


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 6, 9), (2, 5, 6, 7)])
def test_linf_moves_change_one_window_per_channel(shape):
    moves = LinfSquares(shape, 0.5)
    numbers = torch.rand(500, moves.numbers, generator=torch.Generator().manual_seed(0)) * 2 - 1
    noise = torch.full((500, *shape), 0.125)
    moved = moves.next(noise, numbers, share=0.2)
    changed = moved != noise
    assert set(moved[changed].abs().tolist()) == {0.5}
    side = round((0.2 * math.prod(shape[1:])) ** (1 / len(shape[1:])))
    assert set(changed.flatten(2).sum(2).flatten().tolist()) == {side ** len(shape[1:])}
    for row in range(20):
        places = changed[row, 0].nonzero()
        assert (places.amax(0) - places.amin(0) + 1).tolist() == [side] * len(shape[1:])
        assert all(len(moved[row, channel][changed[row, channel]].unique()) == 1 for channel in range(shape[0]))
    # Every voxel can be reached, also at the far edge.
    assert changed.any(dim=0).all()


@pytest.mark.parametrize("bounds", [UNIT, CT])
def test_linf_images_are_those_of_the_perturbation_bit_by_bit(lab, bounds):
    x = lab.images_in(bounds, (9, 3, 6, 5))
    x[:, :, 0], x[:, :, 1] = bounds
    victim = lab.curved_victim(channels=3, bounds=bounds)
    ball = Additive(0.07)
    questions = Questions(ball, victim, x, lab.answers(victim, x), torch.arange(9), victim(x))
    (radius,) = ball.radii(bounds).values()
    signs = torch.where(lab.images_in(UNIT, x.shape, seed=1) < 0.5, -1.0, 1.0)
    found = LinfImages(ball, questions)
    parameters = ball.project(x, {"noise": radius * signs}, bounds)
    assert torch.equal(found.images(questions.rows, radius * signs), ball.apply(x, parameters, bounds))
    assert torch.equal(found.parameters(questions.rows, radius * signs)["noise"], parameters["noise"])


@pytest.mark.parametrize("shape", [(1, 10, 12), (3, 9, 8), (2, 6, 6, 7), (1, 2, 2)])
def test_l2_moves_have_the_length_of_the_radius(shape):
    moves = L2Squares(shape, 0.5)
    noise = moves.first(Draw(0, torch.arange(40), 0))
    assert noise.shape == (40, *shape)
    numbers = torch.rand(40, 20, moves.numbers, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for step in range(20):
        torch.testing.assert_close(noise.flatten(1).norm(dim=1), torch.full((40,), 0.5))
        before, noise = noise, moves.next(noise, numbers[:, step], share=0.1)
        assert not torch.equal(before, noise)
        assert bool(torch.isfinite(noise).all())


def test_the_first_l2_tiles_are_halved_along_either_axis():
    tiles = L2Squares((2, 32, 32), 1.0).first(Draw(0, torch.arange(50), 0))
    # A frame of one voxel, then 5 x 5 tiles of 6 x 6; the same axis in all channels, signs of their own.
    assert not tiles[:, :, [0, -1]].any()
    assert not tiles[:, :, :, [0, -1]].any()
    blocks = tiles[:, :, 1:31, 1:31].unfold(2, 6, 6).unfold(3, 6, 6).double()
    blocks = blocks / blocks.flatten(4).norm(dim=4).reshape(50, 2, 5, 5, 1, 1)
    along = [(blocks * bumps((6, 6), axis)).sum((4, 5)) for axis in range(2)]
    upright, lying = (values.abs() > 0.999 for values in along)
    assert bool((upright ^ lying).all())
    assert torch.equal(upright[:, 0], upright[:, 1])
    assert 0.4 < float(upright.double().mean()) < 0.6
    signs = torch.where(upright, along[0], along[1]).sign()
    assert 0.4 < float((signs[:, 0] == signs[:, 1]).double().mean()) < 0.6


@pytest.mark.parametrize("shape", [(1, 16, 16), (1, 15, 15), (1, 3, 3), (1, 5, 16, 5)])
def test_l2_squares_keep_from_the_border_of_all_but_small_images(shape):
    moves = L2Squares(shape, 1.0)
    numbers = torch.rand(900, moves.numbers, generator=torch.Generator().manual_seed(0)) * 2 - 1
    moved = moves.next(torch.zeros(900, *shape), numbers, share=1e-3).abs().sum((0, 1)) > 0
    inside = torch.zeros(shape[1:], dtype=torch.bool)
    kept = [1 if extent >= 16 else 0 for extent in shape[1:]]
    inside[tuple(slice(margin, extent - margin) for margin, extent in zip(kept, shape[1:], strict=True))] = True
    assert torch.equal(moved, inside)


def test_bumps_are_those_of_the_paper():
    # The authors' code for a block of 5 x 5: halves of 2 x 5 and 3 x 5, nested boxes of height 1, 1/4, 1/9.
    block = bumps((5, 5), 0)
    first, second = block[:2].double(), block[2:].double()
    assert bool((first > 0).all())
    assert bool((second < 0).all())
    expected = np.array([[0, 0, 1 / 4, 0, 0], [0, 0, 1, 0, 0]])
    expected[0, 1:4] = expected[1, [1, 3]] = 1 / 4
    expected[1, 2] = 1 + 1 / 4
    expected += 1 / 9
    np.testing.assert_allclose(first / first[1, 2], expected / expected[1, 2], rtol=1e-6)
    assert float(first.norm()) == pytest.approx(float(second.norm()))
    assert float(block.norm()) == pytest.approx(1)
    assert torch.equal(bumps((5, 5), 1), block.T)


@pytest.mark.parametrize(
    "attack", [Square(0.1, "l2", 7, seed=3), RandomNoise(0.1, "l2", 7, seed=3)], ids=["square", "noise"]
)
def test_attacks_are_values(attack):
    kind = type(attack)
    assert kind() == kind()
    assert len({kind(), kind(), kind(seed=1)}) == 2
    assert eval(repr(attack)) == attack
    assert attack.with_budget(0.2).with_budget(0.1) == attack
    assert attack.budget == 0.1
    assert attack.perturbation == Additive(0.1, "l2")
    configuration = attack.configuration()
    assert json.loads(json.dumps(configuration)) == configuration
    assert {field.name for field in dataclasses.fields(kind)} < set(configuration)


def test_seeds_matter(lab):
    victim = lab.curved_victim()
    x = lab.images_in(UNIT, (6, 1, 8, 8))
    y = lab.answers(victim, x)
    for kind in (Square, RandomNoise):
        runs = [kind(0.002, "linf", 5, seed=seed)(victim, x, y).images for seed in (0, 0, 1)]
        assert torch.equal(runs[0], runs[1])
        assert not torch.equal(runs[0], runs[2])


@pytest.mark.parametrize(
    ("kind", "arguments", "error", "words"),
    [
        (Square, {"eps": -1}, ValueError, "eps must be at least 0"),
        (Square, {"norm": "l1"}, ValueError, "norm must be one of"),
        (Square, {"queries": 0}, ValueError, "queries must be at least 1"),
        (Square, {"share": 0}, ValueError, "share must be above 0"),
        (Square, {"share": 1.5}, ValueError, "share must be at most 1, got 1.5"),
        (Square, {"seed": -1}, ValueError, "seed must be at least 0"),
        (RandomNoise, {"draws": 0}, ValueError, "draws must be at least 1"),
        (RandomNoise, {"eps": "1"}, TypeError, "eps must be a number"),
    ],
)
def test_wrong_arguments(kind, arguments, error, words):
    with pytest.raises(error, match=words):
        kind(**arguments)
