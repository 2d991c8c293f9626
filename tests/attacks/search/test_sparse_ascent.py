import functools

import numpy as np
import pytest
import torch

from medadv.attacks import APGD, PGD
from medadv.attacks.search.ascent import sparse
from medadv.attacks.search.sparse_ascent import SparseAscent
from medadv.objectives import Margin
from medadv.perturbations import Additive


def published(gradients, values, steps, eps, project):
    """The walk of one example by the rules of the paper, one entry at a time; what it meets is given per step."""
    place = np.zeros_like(gradients[0])
    best, best_value, best_gradient = place, -np.inf, None
    share, changed, length = 0.2, 1.0, eps
    every, since = max(int(0.04 * steps), 1), 0
    places = []
    for step in range(steps):
        gradient, value = gradients[step], values[step]
        if value > best_value:
            best, best_value, best_gradient = place, value, gradient
        if step and since == every:
            now = np.count_nonzero(best) / best.size
            if now < 0.95 * changed:
                length, place, gradient = eps, best, best_gradient
            else:
                length = max(length / 1.5, eps / 10)
            share, changed, since = now / 1.5, now, 0
        since += 1
        count = min(max(int(share * best.size), 1), best.size)
        largest = np.argsort(-np.abs(gradient))[:count]
        move = np.zeros_like(place)
        move[largest] = np.sign(gradient[largest]) / count
        place = project(place + length * move)
        places.append(place)
    return places


@pytest.mark.parametrize("steps", [3, 25, 100])
@pytest.mark.parametrize("seed", range(4))
def test_walks_as_published(steps, seed):
    random = np.random.default_rng(seed)
    size, eps = 40, 3.0
    slope = random.normal(size=size)
    gradients = [slope + 0.7 * random.normal(size=size) for _ in range(steps)]
    values = list(np.cumsum(random.normal(size=steps) + 0.1))
    images = torch.full((1, 1, 5, 8), 0.5)
    ball = Additive(eps, "l1")

    def inside(parameters):
        return ball.project(images, parameters, (0.0, 1.0))

    def project(place):
        noise = torch.from_numpy(place).float().reshape(1, 1, 5, 8)
        return inside({"noise": noise})["noise"].flatten().double().numpy()

    expected = published(gradients, values, steps, eps, project)
    ascent = SparseAscent({"noise": eps}, steps)
    place = ball.identity(images)
    for step in range(steps):
        gradient = torch.from_numpy(gradients[step]).float().reshape(1, 1, 5, 8)
        place = ascent.move(place, {"noise": gradient}, torch.tensor([values[step]]), inside)
        np.testing.assert_allclose(place["noise"].flatten().numpy(), expected[step], atol=2e-6)


def test_rows_have_counts_of_their_own():
    gradient = torch.tensor([[3.0, -2.0, 1.0, 0.0], [3.0, -2.0, 1.0, 0.5]])
    step = sparse(gradient, torch.tensor([1, 4]))
    assert step.tolist() == [[1.0, 0.0, 0.0, 0.0], [0.25, -0.25, 0.25, 0.25]]


def test_rows_that_leave_do_not_change_the_others():
    slopes = torch.randn(30, 3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    values = torch.randn(30, 3, generator=torch.Generator().manual_seed(1))
    images = torch.full((3, 1, 4, 4), 0.5)
    ball = Additive(1.0, "l1")

    def walk(rows, leave):
        ascent, place = SparseAscent({"noise": 1.0}, 50), {"noise": torch.zeros_like(images[rows])}
        rows = torch.tensor(rows)
        for step in range(30):
            if leave and step == 11:
                ascent.keep(torch.tensor([True, False, True]))
                place, rows = {"noise": place["noise"][[0, 2]]}, rows[[0, 2]]
            gradients = {"noise": slopes[step, rows]}
            project = functools.partial(ball.project, images[rows], bounds=(0.0, 1.0))
            place = ascent.move(place, gradients, values[step, rows], project)
        return place["noise"]

    assert torch.equal(walk([0, 1, 2], leave=True), walk([0, 2], leave=False))


def test_finds_the_worst_case_of_a_linear_model(lab):
    # The best noise of an L1 ball fills one voxel after the other, the largest weight first.
    victim, weight = lab.linear_victim((1, 8, 8))
    x = lab.images_in((0.0, 1.0), (20, 1, 8, 8))
    y = lab.answers(victim, x)
    eps = 2.5
    result = APGD(eps, "l1", steps=200, objective=Margin(), stop_early=False)(victim, x, y)
    for row in range(20):
        towards = (weight[1 - y[row]] - weight[y[row]]).flatten()
        room = torch.where(towards > 0, 1 - x[row].flatten(), x[row].flatten()).double()
        order = towards.abs().argsort(descending=True)
        used = torch.minimum(room[order], (eps - (room[order].cumsum(0) - room[order])).clamp_min(0))
        with torch.no_grad():
            clean = Margin()(victim(x[row : row + 1]), y[row : row + 1])
        best = float(clean) + float((towards.abs()[order] * used).sum())
        risen = (float(result.loss[row]) - float(clean)) / (best - float(clean))
        assert 0.97 <= risen <= 1 + 1e-5
    assert float(result.distance.max()) <= eps


def test_is_stronger_than_steps_of_one_sparsity(lab):
    victim = lab.curved_victim()
    x = lab.images_in((0.0, 1.0), (100, 1, 8, 8))
    y = lab.answers(victim, x)
    ours, slide = (
        kind(0.5, "l1", steps=50, objective=Margin(), stop_early=False)(victim, x, y).loss for kind in (APGD, PGD)
    )
    assert float((ours >= slide - 1e-4).double().mean()) >= 0.9
    assert float(ours.mean()) > float(slide.mean())
