"""Random search: changes of any kind, found without gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from medadv.attacks.progress import told
from medadv.attacks.questions import Questions
from medadv.attacks.randomness import Draw
from medadv.attacks.result import Result
from medadv.attacks.search.best import Best, like
from medadv.models.victim import Victim
from medadv.perturbations import Parameters, Perturbation

# Beyond the restarts of any attack and the draws of `random_changes`, so that their random numbers are others.
_DRAW_NUMBER = 2**33

_FIRST_REACH = 2.0  # of a move, in radii: from one end of a budget to the other
_HALVINGS = 4  # of the reach of a move, and of the share of the parameters that it changes, over all queries


def random_search(
    perturbation: Perturbation,
    victim: Victim,
    images: Tensor,
    targets: Tensor,
    ids: Tensor,
    clean_logits: Tensor,
    *,
    queries: int,
    seed: int,
) -> Result:
    """Random moves of the parameters, each kept where it raises the margin, until the victim is wrong.

    Rastrigin, "The convergence of the random search method in the extremal control of a many-parameter system" (1963).
    Ours: the first query is a random change within the budget. A later one moves each entry of the parameters with a
    probability that falls from 1 to 1/16, and at least one of each tensor, by up to a reach that falls from two radii
    to an eighth of one.

    Args:
        perturbation: what may change, and how much.
        victim: the model; its images and targets must have passed `Victim.check`.
        images: [N, C, *S] float32.
        targets: [N] int64, or [N, K] where the victim's task is "multilabel".
        ids: [N] int64, numbers of the examples.
        clean_logits: [N, K] of `images`.
        queries: how often the victim is asked per image, at least 1.
        seed: of the moves.

    Returns:
        One row per image; `loss` is the margin.

    >>> from medadv.perturbations import Additive
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2)).eval()
    >>> images = torch.full((5, 1, 4, 4), 0.5)
    >>> asked = images, net(images).argmax(1), torch.arange(5), net(images)
    >>> result = random_search(Additive(0.25), Victim(net), *asked, queries=50, seed=0)
    >>> float(result.distance.max()) <= 0.25, int(result.backwards.sum())
    (True, 0)
    """
    with torch.inference_mode(False), torch.no_grad():
        questions = Questions(perturbation, victim, images, targets, ids, clean_logits)
        if len(questions.rows):
            _search(questions, queries, seed)
        return questions.result()


def _search(questions: Questions, queries: int, seed: int) -> None:
    perturbation, bounds, rows = questions.perturbation, questions.victim.bounds, questions.rows
    radii = perturbation.radii(bounds)
    best = Best()
    for query in told(range(queries)):
        images, draw = questions.images[rows], Draw(seed, questions.ids[rows], _DRAW_NUMBER + query)
        if query == 0:
            tried = perturbation.random(images, draw, bounds)
        else:
            tried = perturbation.project(
                images, _moved(best.parameters, radii, 0.5 ** (_HALVINGS * query / queries), draw), bounds
            )
        logits, wrong = questions.ask(rows, query, tried)
        best.see(tried, questions.margin(logits, questions.targets[rows]))
        best.keep(~wrong)
        rows = rows[~wrong]
        if len(rows) == 0:
            return


def _moved(parameters: Parameters, radii: dict[str, float], share: float, draw: Draw) -> Parameters:
    """A share of the entries of each tensor moved by up to that share of the first reach."""
    return {
        name: values + _FIRST_REACH * share * radii[name] * _some(tuple(values.shape[1:]), share, draw)
        for name, values in parameters.items()
    }


def _some(shape: tuple[int, ...], share: float, draw: Draw) -> Tensor:
    """Uniform numbers in [-1, 1) at random places, zero elsewhere; at one place at least."""
    lots = (draw.uniform(shape) + 1) / 2
    smallest = lots.flatten(1).amin(dim=1)
    return torch.where(lots <= like(smallest, lots).clamp_min(share), draw.uniform(shape), torch.zeros_like(lots))
