"""Transfer of attacks from a surrogate."""

from __future__ import annotations

import torch
from torch import Tensor

from medadv.attacks.base_attack import BaseAttack, checked_ids, require_victim
from medadv.attacks.questions import Questions
from medadv.attacks.result import Result
from medadv.models.victim import Victim


def transfer(
    attack: BaseAttack,
    surrogate: Victim,
    victim: Victim,
    images: Tensor,
    targets: Tensor,
    ids: Tensor | None = None,
) -> Result:
    """What an attack on a surrogate does to a victim that is asked once per image.

    Images that the victim gets wrong already are not attacked; those that only the surrogate gets wrong stay clean. An
    attack with `stop_early=False` transfers better: it goes on after the surrogate is fooled.

    Args:
        attack: the attack.
        surrogate: the model that the attack sees; same bounds as the victim.
        victim: the model that is fooled or not.
        images: [N, C, H, W] or [N, C, D, H, W] float32, inside the bounds.
        targets: [N] int64, the right classes.
        ids: [N] int64, numbers of the examples for random numbers; default 0 to N - 1.

    Returns:
        One row per image, as the victim sees it: its answers and margin, `distance` of the attack, and counts of the
        passes through the victim alone.

    Raises:
        TypeError, ValueError: different bounds; what either `Victim.check` refuses; ids of another type or shape.

    >>> from medadv.attacks.pgd import PGD
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2)).eval()
    >>> images = torch.full((5, 1, 4, 4), 0.5)
    >>> result = transfer(PGD(eps=0.5), Victim(net), Victim(net), images, net(images).argmax(1))
    >>> bool(result.success.all()), int(result.backwards.sum())
    (True, 0)
    """
    require_victim(surrogate, "surrogate")
    require_victim(victim)
    logits = victim.clean_logits(images, targets)
    return transferred(attack, surrogate, victim, images, targets, checked_ids(ids, images), logits, clean_forwards=1)


def transferred(
    attack: BaseAttack,
    surrogate: Victim,
    victim: Victim,
    images: Tensor,
    targets: Tensor,
    ids: Tensor,
    clean_logits: Tensor,
    clean_forwards: int = 0,
    surrogate_logits: Tensor | None = None,
) -> Result:
    """As `transfer`, for images that the victim has checked and answered already.

    Args:
        attack, surrogate, victim, images, targets, ids: see `transfer`.
        clean_logits: [N, K] from `Victim.clean_logits` of the victim.
        clean_forwards: how many passes to count for them in the result.
        surrogate_logits: [N, K] from `Victim.clean_logits` of the surrogate, if it has answered already, too.

    Returns:
        One row per image.

    Raises:
        TypeError, ValueError: different bounds; what the surrogate refuses.
    """
    if surrogate.bounds != victim.bounds:
        raise ValueError(f"surrogate must have the bounds of the victim, {victim.bounds}, got {surrogate.bounds}.")
    with torch.inference_mode(False), torch.no_grad():
        questions = Questions(attack.perturbation, victim, images, targets, ids, clean_logits)
        everyone = torch.arange(len(images), device=images.device)
        questions.record.count_forwards(everyone, clean_forwards * victim.passes)
        rows = questions.rows
        if len(rows) == 0:
            return questions.result()
        given = surrogate, questions.images[rows], targets[rows], ids[rows]
        found = attack(*given) if surrogate_logits is None else attack.run(*given, surrogate_logits[rows])
        questions.ask(rows, 0, found.parameters)
        result = questions.result()
        result.distance[rows] = found.distance
        return result
