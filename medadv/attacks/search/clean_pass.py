"""The victim's answer to the clean images with its graph: the first step of a search that starts there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medadv.attacks.gradients import graphs, ordinary
from medadv.models.features import Features
from medadv.models.victim import Victim
from medadv.perturbations import Parameters, Perturbation
from medadv.perturbations.perturbation import Bounds, image_gradient_of


@dataclass(slots=True, eq=False)
class CleanPass:
    """One pass that tells what `Victim.check` asks for and gives the gradient at the clean images, too.

    Attributes:
        parameters: of the identity.
        leaves: what gradients are taken to, by the names of the parameters.
        logits: [N, K] float32 of the clean images.
        features: of the parts of the victim's module that the objective names.
    """

    parameters: Parameters
    leaves: Parameters
    logits: Tensor
    features: Features

    def only(self, rows: Tensor) -> CleanPass:
        """The pass of some rows [M] int64; its leaves stay those of all."""
        return CleanPass(
            {name: values[rows] for name, values in self.parameters.items()},
            self.leaves,
            self.logits[rows],
            {layer: values[rows] for layer, values in self.features.items()},
        )


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
    with graphs():
        images = ordinary(images)
        identity = perturbation.identity(images)
        if name := image_gradient_of(perturbation):
            changed = images.detach().requires_grad_()
            parameters, leaves = identity, {name: changed}
        else:
            changed, parameters, leaves = changed_images(perturbation, images, identity, victim.bounds)
            if not torch.equal(changed, images):
                return None
        logits, features = victim.clean_look(changed, targets, layers)
    return CleanPass(parameters, leaves, logits, features)


def changed_images(
    perturbation: Perturbation, images: Tensor, parameters: Parameters, bounds: Bounds, made: Tensor | None = None
) -> tuple[Tensor, Parameters, Parameters]:
    """What a perturbation makes of images, with a graph where gradients are on.

    Args:
        perturbation: what may change.
        images: [N, C, *S] float32.
        parameters: of the change.
        bounds: (low, high) in image units.
        made: what `apply` makes of these, without a graph, where it is known; becomes the changed images.

    Returns:
        The changed images [N, C, *S]; the parameters that are part of the graph; and the leaves of the graph by the
        names of the parameters: these themselves, or the changed images where the gradient is the same.

    >>> from medadv.perturbations import Additive
    >>> images = torch.full((1, 1, 2, 2), 0.5)
    >>> changed, _, leaves = changed_images(Additive(0.1), images, Additive(0.1).identity(images), (0.0, 1.0))
    >>> leaves["noise"] is changed
    True
    """
    name, graph = image_gradient_of(perturbation), torch.is_grad_enabled()
    if graph and name is None:
        leaves = {name: values.detach().requires_grad_() for name, values in parameters.items()}
        return perturbation.apply(images, leaves, bounds), leaves, leaves
    if made is None:
        with torch.no_grad():
            made = perturbation.apply(images, parameters, bounds)
    if not graph or name is None:
        return made, parameters, parameters
    return made.requires_grad_(), parameters, {name: made}
