"""What clean features look like: one Gaussian per class."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from medadv import _arguments


@dataclass(frozen=True, eq=False, repr=False)
class ClassGaussians:
    """A Gaussian density of features for each class, weighted by the size of the classes; a value, compared bit by bit.

    Args:
        means: [K, P] float64.
        whitening: [K, P, P] float64, W with W W' = the inverse covariance.
        weights: [K] float64, above 0, of sum 1.

    >>> features = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    >>> gaussians = ClassGaussians.fit(features, torch.arange(40) % 2)
    >>> gaussians.squared_distances(gaussians.means).diagonal()
    tensor([0., 0.], dtype=torch.float64)
    """

    means: Tensor
    whitening: Tensor
    weights: Tensor

    @classmethod
    def fit(cls, features: Tensor, labels: Tensor, shrinkage: float = 0.1) -> ClassGaussians:
        """Estimate mean and covariance of each class.

        The covariance S (divided by the number of images) is drawn towards a multiple of the identity of the same
        trace, (1 - shrinkage) S + shrinkage trace(S) / P: as in Ledoit and Wolf, "A well-conditioned estimator for
        large-dimensional covariance matrices" (2004), but by a fixed share.

        Args:
            features: [N, P] of clean images.
            labels: [N] int64, classes 0 to K - 1, each of at least two images.
            shrinkage: above 0, at most 1.

        Returns:
            The densities.

        Raises:
            TypeError, ValueError: an argument is not what it must be; features that do not vary within a class.
        """
        shrinkage = checked_features(features, labels, shrinkage)
        sizes = torch.bincount(labels)
        parts = [_moments(features[labels == label].double(), shrinkage) for label in range(len(sizes))]
        means, whitening = (torch.stack(part) for part in zip(*parts, strict=True))
        return cls(means, whitening, sizes.double() / len(labels))

    @property
    def classes(self) -> int:
        """Number of classes K."""
        return len(self.means)

    @property
    def dimensions(self) -> int:
        """Number of features P."""
        return self.means.shape[1]

    def squared_distances(self, features: Tensor) -> Tensor:
        """Squared Mahalanobis distance to each class; differentiable.

        Args:
            features: [N, P].

        Returns:
            [N, K] float64.
        """
        if features.ndim != 2 or features.shape[1] != self.dimensions:
            raise ValueError(f"features must be [N, {self.dimensions}], got {list(features.shape)}.")
        means, whitening = self.means.to(features.device), self.whitening.to(features.device)
        offsets = features.double().unsqueeze(1) - means
        return torch.einsum("nkp,kpq->nkq", offsets, whitening).square().sum(dim=2)

    def log_density(self, features: Tensor) -> Tensor:
        """Logarithm of the density of the mixture of all classes; differentiable.

        Args:
            features: [N, P].

        Returns:
            [N] float64.
        """
        return torch.logsumexp(self.log_parts(self.squared_distances(features)), dim=1)

    def log_parts(self, squared_distances: Tensor) -> Tensor:
        """Logarithm of what each class adds to the density.

        Args:
            squared_distances: [N, K] of images.

        Returns:
            [N, K] float64.
        """
        half_log_determinants = self.whitening.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        constants = self.weights.log() + half_log_determinants - self.dimensions / 2 * math.log(2 * math.pi)
        return constants.to(squared_distances.device) - squared_distances / 2

    @property
    def sha256(self) -> str:
        """Of all numbers."""
        content = hashlib.sha256()
        for values in (self.means, self.whitening, self.weights):
            content.update(repr(tuple(values.shape)).encode() + values.cpu().contiguous().numpy().tobytes())
        return content.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClassGaussians) and self.sha256 == other.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __repr__(self) -> str:
        return f"ClassGaussians(classes={self.classes}, dimensions={self.dimensions}, sha256={self.sha256[:16]!r})"


def checked_features(features: Tensor, labels: Tensor, shrinkage: float) -> float:
    """Refuse what no density can be fitted to.

    Args:
        features, labels, shrinkage: see `ClassGaussians.fit`.

    Returns:
        The shrinkage.

    Raises:
        TypeError, ValueError: see there.
    """
    shrinkage = _arguments.real(shrinkage, "shrinkage", above=0)
    if shrinkage > 1:
        raise ValueError(f"shrinkage must be at most 1, got {shrinkage!r}.")
    if features.ndim != 2 or labels.shape != features.shape[:1] or labels.dtype != torch.int64:
        raise ValueError(
            f"features must be [N, P] with int64 labels [N], got {list(features.shape)} and "
            f"{list(labels.shape)} of {labels.dtype}."
        )
    if not bool(torch.isfinite(features).all()) or bool((labels < 0).any()):
        raise ValueError("features must be finite and labels at least 0.")
    sizes = torch.bincount(labels)
    if int(sizes.min()) < 2:
        raise ValueError(f"labels must hold at least two images of every class, got {sizes.tolist()} images.")
    return shrinkage


def whitened(covariance: Tensor, variance: Tensor, shrinkage: float) -> Tensor:
    """The whitening [P, P], lower triangular, of a covariance that is drawn towards a multiple of the identity.

    Args:
        covariance: [P, P] float64.
        variance: that multiple, above 0.
        shrinkage: how far.

    Raises:
        ValueError: a variance of 0.
    """
    if not bool(variance > 0):
        raise ValueError("features must vary within every class, got the same for all images of one.")
    identity = torch.eye(len(covariance), dtype=torch.float64, device=covariance.device)
    precision = torch.linalg.inv((1 - shrinkage) * covariance + shrinkage * variance * identity)
    root: Tensor = torch.linalg.cholesky((precision + precision.T) / 2)
    return root


def _moments(features: Tensor, shrinkage: float) -> tuple[Tensor, Tensor]:
    """Mean [P] of the features [M, P] of a class, and the whitening [P, P] of its covariance."""
    mean = features.mean(dim=0)
    offsets = features - mean
    covariance = offsets.T @ offsets / len(features)
    return mean, whitened(covariance, covariance.diagonal().mean(), shrinkage)
