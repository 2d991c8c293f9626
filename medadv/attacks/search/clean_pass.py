"""The victim's answer to the clean images with its graph: the first step of a search that starts there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medadv.models.features import Features
from medadv.models.victim import Victim
from medadv.perturbations import Parameters, Perturbation


@dataclass(frozen=True, eq=False)
class CleanPass:
    """One pass that tells what `Victim.check` asks for and gives the gradient at the clean images, too.

    Attributes:
        parameters: of the identity, leaves of the graph.
        images: [N, C, *S] that the perturbation makes of them: the clean images bit by bit.
        logits: [N, K] float32 of these images.
        features: of the parts of the victim's module that the objective names.
    """

    parameters: Parameters
    images: Tensor
    logits: Tensor
    features: Features


def clean_pass(
    perturbation: Perturbation, victim: Victim, images: Tensor, targets: Tensor, layers: tuple[str, ...]
) -> CleanPass | None:
    """Check images, targets and model, and keep the graph of the pass.

    Args:
        perturbation: what will be searched over.
        victim: the model under attack.
        images: [N, C, *S] float32.
        targets: [N] int64, or [N, K] where the victim's task is "multilabel".
        layers: names of parts of the module whose features are wanted.

    Returns:
        The pass; None, and no pass made, where the perturbation's identity is not the image to the last bit, or there
        are more images than the victim is shown at once.

    Raises:
        TypeError, ValueError: what `Victim.check` refuses.

    >>> from medadv.perturbations import Additive
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2)).eval()
    >>> images = torch.rand(3, 1, 2, 2)
    >>> seen = clean_pass(Additive(0.1), Victim(net), images, torch.zeros(3, dtype=torch.int64), layers=())
    >>> seen.logits.requires_grad
    True
    """
    victim.check_arguments(images, targets)
    if victim.batch_size is not None and len(images) > victim.batch_size:
        return None
    with torch.inference_mode(False), torch.enable_grad():
        # What was made in inference mode cannot be saved for a backward pass.
        images = images.clone() if images.is_inference() else images.detach()
        identity = perturbation.identity(images)
        parameters = {name: values.detach().requires_grad_() for name, values in identity.items()}
        changed = perturbation.apply(images, parameters, victim.bounds)
        if not torch.equal(changed, images):
            return None
        logits, features = victim.clean_look(changed, targets, layers)
    return CleanPass(parameters, changed, logits, features)
