"""What clean features look like where one Gaussian per class is too few: a mixture of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from medadv import _arguments
from medadv.detectors.class_gaussians import ClassGaussians, checked_features, whitened

_ROUNDS = 50  # of k-means, at most, and of expectation and maximisation
_LEAST_IMAGES = 2.0  # that a component stands for, else it is left out


@dataclass(frozen=True, eq=False, repr=False)
class ClassMixtures:
    """A mixture of Gaussians of features for each class; a value, compared bit by bit.

    Args:
        gaussians: one for each component, weighted by the share of all images that it stands for.
        owners: [M] int64, the class of each component, rising.

    >>> features = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    >>> mixtures = ClassMixtures.fit(features, torch.arange(40) % 2, components=3)
    >>> mixtures.classes, mixtures.squared_distances(features).shape
    (2, torch.Size([40, 2]))
    """

    gaussians: ClassGaussians
    owners: Tensor

    @classmethod
    def fit(cls, features: Tensor, labels: Tensor, components: int, shrinkage: float = 0.1) -> ClassMixtures:
        """Expectation maximisation for each class on its own, from the clusters of k-means.

        K-means begins at the feature nearest to the mean, and goes on with the one furthest from all before: no random
        numbers. The covariance of a component is drawn towards a multiple of the identity as in `ClassGaussians.fit`,
        with the mean variance of the whole class, so that no component shrinks to a point (ours).

        Args:
            features: [N, P] of clean images.
            labels: [N] int64, classes 0 to K - 1, each of at least two images.
            components: of a class at most, at least 1; those that would stand for fewer than two images are left out.
            shrinkage: above 0, at most 1.

        Returns:
            The densities.

        Raises:
            TypeError, ValueError: an argument is not what it must be; features that do not vary within a class.
        """
        components = _arguments.whole(components, "components", at_least=1)
        shrinkage = checked_features(features, labels, shrinkage)
        parts = [_mixture(features[labels == label].double(), components, shrinkage) for label in labels.unique()]
        shares = torch.cat([part.weights * (labels == label).sum() for label, part in enumerate(parts)])
        gaussians = ClassGaussians(
            torch.cat([part.means for part in parts]),
            torch.cat([part.whitening for part in parts]),
            shares / len(labels),
        )
        counts = torch.tensor([part.classes for part in parts], device=features.device)
        return cls(gaussians, torch.repeat_interleave(counts))

    @property
    def classes(self) -> int:
        """Number of classes K."""
        return int(self.owners[-1]) + 1

    @property
    def dimensions(self) -> int:
        """Number of features P."""
        return self.gaussians.dimensions

    def squared_distances(self, features: Tensor) -> Tensor:
        """Squared Mahalanobis distance to the most likely component of each class; differentiable.

        Args:
            features: [N, P].

        Returns:
            [N, K] float64.
        """
        distances = self.gaussians.squared_distances(features)
        likelihoods = self.gaussians.log_parts(distances.detach())
        found = []
        for label in range(self.classes):
            own = (self.owners == label).nonzero().flatten().to(features.device)
            likeliest = own[likelihoods[:, own].argmax(dim=1)]
            found.append(distances.gather(1, likeliest.unsqueeze(1)))
        return torch.cat(found, dim=1)

    @property
    def sha256(self) -> str:
        """Of all numbers."""
        return hashlib.sha256(f"{self.gaussians.sha256} {self.owners.tolist()}".encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClassMixtures) and self.sha256 == other.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __repr__(self) -> str:
        components = torch.bincount(self.owners).tolist()
        return f"ClassMixtures(components={components}, dimensions={self.dimensions}, sha256={self.sha256[:16]!r})"


def _mixture(features: Tensor, components: int, shrinkage: float) -> ClassGaussians:
    """Of the features [M, P] of one class; its components in place of classes."""
    variance = features.var(dim=0, correction=0).mean()
    shares = _clusters(features, min(components, len(features)))
    for _ in range(_ROUNDS):
        sizes = shares.sum(dim=0)
        kept = (sizes >= _LEAST_IMAGES).nonzero().flatten()
        # The images of what is left out belong to nothing for one round.
        shares = shares[:, kept if len(kept) else sizes.argmax().unsqueeze(0)]
        mixture = _of_shares(features, shares, variance, shrinkage)
        shares = mixture.log_parts(mixture.squared_distances(features)).softmax(dim=1)
    return mixture


def _of_shares(features: Tensor, shares: Tensor, variance: Tensor, shrinkage: float) -> ClassGaussians:
    """The components to which images [M, P] belong by these shares [M, C]."""
    sizes = shares.sum(dim=0)
    means = shares.T @ features / sizes.unsqueeze(1)
    whitening = []
    for share, size, mean in zip(shares.T, sizes, means, strict=True):
        offsets = features - mean
        whitening.append(whitened((offsets.T * share) @ offsets / size, variance, shrinkage))
    return ClassGaussians(means, torch.stack(whitening), sizes / sizes.sum())


def _clusters(features: Tensor, count: int) -> Tensor:
    """Which of the clusters of k-means each feature [M, P] belongs to, [M, C] of 0 and 1."""
    first = (features - features.mean(dim=0)).square().sum(dim=1).argmin()
    centres = features[first].unsqueeze(0)
    while len(centres) < count:
        furthest = torch.cdist(features, centres).amin(dim=1).argmax()
        centres = torch.cat([centres, features[furthest].unsqueeze(0)])
    before = None
    for _ in range(_ROUNDS):
        nearest = torch.cdist(features, centres).argmin(dim=1)
        if before is not None and torch.equal(nearest, before):
            break
        before = nearest
        members = torch.nn.functional.one_hot(nearest, len(centres)).double()
        sizes = members.sum(dim=0).unsqueeze(1)
        centres = torch.where(sizes > 0, members.T @ features / sizes.clamp_min(1), centres)
    return members
