"""Stabilised objectives."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor

from medadv import _arguments, ops
from medadv.objectives.cross_entropy import CrossEntropy
from medadv.objectives.objective import Objective, Situation, goals_of, layers_of, value_at

SMOOTHED = ("delta", "input", "step")


@dataclass(frozen=True)
class Gaussian:
    """A normalised Gaussian filter that leaves the channels apart; the image is mirrored at its border.

    Args:
        size: odd number of voxels along each axis, at least 3.
        sigma: standard deviation in voxels, above 0.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> import torch
    >>> Gaussian()(torch.eye(3).reshape(1, 1, 3, 3))[0, 0, 1]
    tensor([0.3715, 0.3544, 0.3715])
    """

    size: int = 3
    sigma: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", _arguments.whole(self.size, "size", at_least=3))
        object.__setattr__(self, "sigma", _arguments.real(self.sigma, "sigma", above=0))
        if self.size % 2 == 0:
            raise ValueError(f"size must be odd, got {self.size}.")

    def __call__(self, images: Tensor) -> Tensor:
        """The smoothed images.

        Args:
            images: [N, C, *S].

        Returns:
            [N, C, *S].
        """
        # The radius of the blur is ceil(truncate sigma); a half less than (size - 1) / 2 is safe from rounding.
        return ops.gaussian_blur(images, self.sigma, truncate=(self.size / 2 - 1) / self.sigma)


@dataclass(frozen=True)
class Stabilised:
    """An objective less `weight` times the change of the victim's answer when the image is smoothed.

    objective(f(x_t)) - weight KL(f(x_t) || f(smoothed x_t)), no gradient through the smoothed image: Qi et al.,
    "Stabilized medical image attacks" (2021). The paper's text leaves open what is smoothed, the authors' code does
    something else; all three readings are there, W the filter, x the clean and x_t the changed image:

    - "delta": x + W (x_t - x), the change is smoothed.
    - "input": W x_t, all of the image is.
    - "step": x_(t-1) + W (x_t - x_(t-1)), the last step is, as in the code; no term before the first step.

    The divergence is that of the classes' probabilities, or summed over the labels where each is there or not; the
    code takes the smoothed answer as a hard label instead. Each look at an image costs one forward pass more, none
    with weight 0, where it is the objective itself.

    Args:
        objective: what is stabilised.
        weight: at least 0; above 0 in the paper, which does not tell its value (1 is ours).
        smoothing: W.
        target: "delta", "input" or "step".

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> Stabilised(CrossEntropy(), weight=0.5)
    Stabilised(objective=CrossEntropy(), weight=0.5, smoothing=Gaussian(size=3, sigma=1.0), target='delta')
    """

    objective: Objective = field(default_factory=CrossEntropy)
    weight: float = 1.0
    smoothing: Gaussian = field(default_factory=Gaussian)
    target: str = "delta"

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", _arguments.real(self.weight, "weight", at_least=0))
        _arguments.choice(self.target, "target", SMOOTHED)

    @property
    def layers(self) -> tuple[str, ...]:
        """Those of the objective that is stabilised."""
        return layers_of(self.objective)

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The objective alone.

        Args:
            logits: [N, K] float32.
            targets: [N] int64, or [N, K] int64 of 0 and 1.

        Returns:
            [N] float32.
        """
        return self.objective(logits, targets)

    def at(self, logits: Tensor, targets: Tensor, situation: Situation) -> Tensor:
        """The stabilised objective on the way."""
        value = value_at(self.objective, logits, targets, situation)
        smoothed = None if self.weight == 0 else self._smoothed(situation)
        if smoothed is None:
            return value
        return value - self.weight * _divergence(logits, situation.ask(smoothed), targets)

    def goals(self, clean_logits: Tensor, targets: Tensor) -> Tensor | None:
        """Those of the objective that is stabilised."""
        return goals_of(self.objective, clean_logits, targets)

    def _smoothed(self, situation: Situation) -> Tensor | None:
        if self.target == "input":
            return self.smoothing(situation.images)
        start = situation.clean if self.target == "delta" else situation.before
        return None if start is None else start + self.smoothing(situation.images - start)


def _divergence(logits: Tensor, other: Tensor, targets: Tensor) -> Tensor:
    """KL divergence of the answers to one image, [N]."""
    if targets.ndim == 1:
        ours, theirs = logits.log_softmax(dim=1), other.log_softmax(dim=1)
        return (ours.exp() * (ours - theirs)).sum(dim=1)
    there, absent = F.logsigmoid(logits), F.logsigmoid(-logits)
    terms = there.exp() * (there - F.logsigmoid(other)) + absent.exp() * (absent - F.logsigmoid(-other))
    return terms.sum(dim=1)
