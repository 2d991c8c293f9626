"""A detector of features that are unlikely for clean images."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from medadv.detectors.class_gaussians import ClassGaussians
from medadv.detectors.detector import threshold_at
from medadv.models.features import Features, features_of
from medadv.models.victim import Victim


@dataclass(frozen=True)
class GaussianDetector:
    """The negative log-likelihood of one layer's features under Gaussians of clean features, one per class.

    After Li and Zhu, "Robust detection of adversarial attacks on medical images" (2020), and the unsupervised detection
    of Li et al., "Defending against adversarial attacks on medical imaging AI system, classification or detection?"
    (2021); density, shrinkage and threshold are ours. It is fitted on clean images alone.

    Args:
        layer: the part of the network, its last features as a rule.
        gaussians: of its clean features.
        threshold: the highest score that passes.
        unit: threshold less the median score of clean images, above 0.

    >>> import torch
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).eval()
    >>> images = torch.rand(60, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    >>> detector = GaussianDetector.fit(Victim(net), "0", images[:40], torch.arange(40) % 2, images[40:])
    >>> detector.layers
    ('0',)
    """

    layer: str
    gaussians: ClassGaussians
    threshold: float
    unit: float

    @classmethod
    def fit(
        cls,
        victim: Victim,
        layer: str,
        images: Tensor,
        labels: Tensor,
        held_out: Tensor,
        *,
        false_positive_rate: float = 0.05,
        shrinkage: float = 0.1,
    ) -> GaussianDetector:
        """Fit the densities, and set the threshold on other clean images.

        Args:
            victim: the model.
            layer: the part of its module, see `medadv.models.features.tapped`.
            images: [N, C, *S] float32, clean, at least two of every class.
            labels: [N] int64, their classes.
            held_out: [M, C, *S] float32, clean, not among `images`; those of the test set would flatter.
            false_positive_rate: share of the held-out images that is detected at most, from 0 to below 1.
            shrinkage: see `ClassGaussians.fit`.

        Returns:
            The detector.

        Raises:
            TypeError, ValueError: an argument is not what it must be.
        """
        (features,) = features_of(victim, images, (layer,)).values()
        gaussians = ClassGaussians.fit(features, labels, shrinkage)
        (clean,) = features_of(victim, held_out, (layer,)).values()
        scores = -gaussians.log_density(clean)
        threshold = threshold_at(scores, false_positive_rate)
        unit = threshold - float(scores.median())
        if not unit > 0:
            raise ValueError("held_out must hold images of different scores, got a threshold at their median.")
        return cls(layer, gaussians, threshold, unit)

    @property
    def layers(self) -> tuple[str, ...]:
        return (self.layer,)

    @property
    def sha256(self) -> str:
        """Of the densities."""
        return self.gaussians.sha256

    def score(self, features: Features) -> Tensor:
        """The negative log-likelihood.

        Args:
            features: of its layer, [N, P].

        Returns:
            [N] float64.
        """
        return -self.gaussians.log_density(features[self.layer])
