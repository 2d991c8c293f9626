"""A change that was fitted to many images, to be made to others."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medadv.attacks.base_attack import checked_ids, require_victim
from medadv.attacks.questions import Questions
from medadv.attacks.result import Result
from medadv.models.victim import Victim
from medadv.objectives.objective import Objective, goals_of
from medadv.perturbations import Parameters, Perturbation
from medadv.perturbations.perturbation import Bounds


@dataclass(frozen=True, eq=False, repr=False)
class UniversalChange:
    """One change for every image; `medadv.attacks.Universal` fits it.

    Attributes:
        perturbation: what changes, and the budget that every changed image keeps.
        parameters: of the perturbation, each [1, ...].
        bounds: (low, high) of the images, in image units.
        objective: what was raised; where it has a goal, that answer alone is a success.
        success: share of the training images that were right and are fooled.
        forwards, backwards: [N] int64, passes that the fit took per training image, the one for its clean image
            included.
    """

    perturbation: Perturbation
    parameters: Parameters
    bounds: Bounds
    objective: Objective
    success: float
    forwards: Tensor
    backwards: Tensor

    def apply(self, images: Tensor) -> Tensor:
        """The changed images.

        Args:
            images: [M, C, *S] float32 inside `bounds`.

        Returns:
            [M, C, *S] float32 inside `bounds`.

        Raises:
            ValueError: images of a size that the change was not fitted to.
        """
        return self.perturbation.apply(images, self.shared_by(images), self.bounds)

    def shared_by(self, images: Tensor) -> Parameters:
        """The parameters, one row per image.

        Args:
            images: [M, C, *S] float32.

        Returns:
            Tensors [M, ...].

        Raises:
            ValueError: images of a size that the change was not fitted to.
        """
        needed = {name: list(values.shape[1:]) for name, values in self.perturbation.identity(images[:1]).items()}
        fitted = {name: list(values.shape[1:]) for name, values in self.parameters.items()}
        if needed != fitted:
            raise ValueError(
                f"images must be as large as those that the change was fitted to, with parameters {fitted}, "
                f"got {list(images.shape)} with {needed}."
            )
        return shared(self.parameters, len(images))

    def __call__(self, victim: Victim, images: Tensor, targets: Tensor, ids: Tensor | None = None) -> Result:
        """Make the change to images, and ask the victim about each once; it need not be the one of the fit.

        Args:
            victim, images, targets, ids: as for an attack.

        Returns:
            One row per image, `loss` its margin.

        Raises:
            TypeError, ValueError: what `Victim.check` refuses; other bounds; images of another size.
        """
        require_victim(victim)
        if victim.bounds != self.bounds:
            raise ValueError(f"victim must have the bounds of the fit, {self.bounds}, got {victim.bounds}.")
        logits = victim.clean_logits(images, targets)
        ids = checked_ids(ids, images)
        with torch.inference_mode(False), torch.no_grad():
            goals = goals_of(self.objective, logits, targets)
            questions = Questions(self.perturbation, victim, images, targets, ids, logits, goals)
            questions.record.count_forwards(torch.arange(len(images), device=images.device), victim.passes)
            parameters = self.shared_by(images)
            rows = questions.rows
            if len(rows):
                questions.ask(rows, 0, {name: values[rows] for name, values in parameters.items()})
            return questions.result()

    def __repr__(self) -> str:
        return f"UniversalChange({self.perturbation!r}, fooled {self.success:.3f} of the training images)"


def shared(parameters: Parameters, count: int) -> Parameters:
    """The same parameters for several images.

    Args:
        parameters: tensors [1, ...].
        count: how many images.

    Returns:
        Tensors [count, ...].

    >>> shared({"noise": torch.ones(1, 2)}, 3)["noise"].shape
    torch.Size([3, 2])
    """
    return {name: values.expand(count, *values.shape[1:]) for name, values in parameters.items()}
