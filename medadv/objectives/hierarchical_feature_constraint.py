"""Features that look like those of clean images of the class that the image is taken for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from medadv import _arguments
from medadv.detectors.class_gaussians import ClassGaussians
from medadv.detectors.class_mixtures import ClassMixtures
from medadv.models.features import features_of
from medadv.models.victim import Victim
from medadv.objectives.cross_entropy import CrossEntropy
from medadv.objectives.dlr import wrong_classes
from medadv.objectives.objective import Objective, Situation, goals_of, layers_of, value_at


@dataclass(frozen=True)
class HierarchicalFeatureConstraint:
    """An objective less the distance of the features at several layers from those of clean images of the wrong class.

    objective - weight sum_l |(h_l - mu_l) W_l|^2 / P_l, h_l the P_l features of layer l averaged over the voxels, mu_l
    and W_l W_l' mean and inverse covariance of the clean features of the class aimed at, or of the most likely part of
    a mixture: Yao et al., "A hierarchical feature constraint to camouflage medical adversarial attacks" (2021), whose
    code has mixtures of up to 64 parts, fitted in a Bayesian way. The class aimed at is the goal of the objective; if
    it has none, the most likely wrong class of the clean image (ours). No more passes, no knowledge of the detector.
    One class per image.

    Args:
        densities: name of a layer and Gaussians, or mixtures of them, of its clean features, for each layer.
        objective: what is constrained.
        weight: at least 0; 1 in the authors' code.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> from torch import nn
    >>> victim = Victim(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).eval())
    >>> images = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    >>> HierarchicalFeatureConstraint.fit(victim, ["0"], images, torch.arange(40) % 2).layers
    ('0',)
    """

    densities: tuple[tuple[str, ClassGaussians | ClassMixtures], ...]
    objective: Objective = field(default_factory=CrossEntropy)
    weight: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "densities", tuple((layer, gaussians) for layer, gaussians in self.densities))
        if len({gaussians.classes for _, gaussians in self.densities}) != 1:
            raise ValueError(
                f"densities must hold at least one layer, all of the same classes, got {self.densities!r}."
            )
        object.__setattr__(self, "weight", _arguments.real(self.weight, "weight", at_least=0))

    @classmethod
    def fit(
        cls,
        victim: Victim,
        layers: Sequence[str],
        images: Tensor,
        labels: Tensor,
        objective: Objective | None = None,
        *,
        weight: float = 1.0,
        components: int = 1,
        shrinkage: float = 0.1,
    ) -> HierarchicalFeatureConstraint:
        """Fit the densities to clean images.

        Args:
            victim: the model.
            layers: the parts of its module, see `medadv.models.features.tapped`.
            images: [N, C, *S] float32, clean, at least two of every class.
            labels: [N] int64, their classes.
            objective: what is constrained; default cross-entropy.
            weight: see above.
            components: of the mixture of a class, see `ClassMixtures.fit`; 1: one Gaussian per class.
            shrinkage: see `ClassGaussians.fit`.

        Returns:
            The objective.

        Raises:
            TypeError, ValueError: an argument is not what it must be.
        """
        features = features_of(victim, images, layers)
        densities = tuple((layer, _density(features[layer], labels, components, shrinkage)) for layer in layers)
        return cls(densities, CrossEntropy() if objective is None else objective, weight)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that are constrained, and those that the objective needs."""
        own = tuple(layer for layer, _ in self.densities)
        return own + tuple(layer for layer in layers_of(self.objective) if layer not in own)

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The objective alone.

        Args:
            logits: [N, K] float32.
            targets: [N] int64.

        Returns:
            [N] float32.
        """
        return self.objective(logits, targets)

    def at(self, logits: Tensor, targets: Tensor, situation: Situation) -> Tensor:
        """The constrained objective on the way."""
        value = value_at(self.objective, logits, targets, situation)
        return value - self.weight * self._distance(targets, situation).float()

    def goals(self, clean_logits: Tensor, targets: Tensor) -> Tensor | None:
        """Those of the objective that is constrained."""
        return goals_of(self.objective, clean_logits, targets)

    def _distance(self, targets: Tensor, situation: Situation) -> Tensor:
        """Mean squared distance of whitened features from the class aimed at, summed over the layers, [N] float64."""
        count, classes = situation.clean_logits.shape[1], self.densities[0][1].classes
        if count != classes:
            raise ValueError(f"densities must be of the victim's {count} classes, got {classes}.")
        aims = goals_of(self.objective, situation.clean_logits, targets)
        if aims is None:
            aims = wrong_classes(situation.clean_logits, targets)[:, 0]
        distances = [
            gaussians.squared_distances(situation.features[layer]).gather(1, aims.unsqueeze(1)).squeeze(1)
            / gaussians.dimensions
            for layer, gaussians in self.densities
        ]
        return torch.stack(distances).sum(dim=0)


def _density(features: Tensor, labels: Tensor, components: int, shrinkage: float) -> ClassGaussians | ClassMixtures:
    if components == 1:
        return ClassGaussians.fit(features, labels, shrinkage)
    return ClassMixtures.fit(features, labels, components, shrinkage)
