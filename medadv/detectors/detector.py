"""What a detector can do, and how its threshold is set."""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor

from medadv import _arguments
from medadv.detectors.fingerprint import fingerprint
from medadv.models.features import Features


class Detector(Protocol):
    """A score per image that says how unlike clean images it is; an image is detected above a threshold.

    What it holds is written down with the results as a hash, so that they are never continued with another detector:
    its property `sha256` where it has one, else the fingerprint of all its attributes.
    """

    @property
    def layers(self) -> tuple[str, ...]:
        """The parts of the network that it looks at, see `medadv.models.features.tapped`."""
        ...

    @property
    def threshold(self) -> float:
        """The highest score that passes."""
        ...

    @property
    def unit(self) -> float:
        """A typical difference of scores, above 0, so that attacks need not know the scale."""
        ...

    def score(self, features: Features) -> Tensor:
        """The score [N] of images with these features; differentiable, each row from its row."""
        ...


def described(detector: Detector) -> dict[str, Any]:
    """What is written down of a detector, so that another one is told from it, in plain JSON values.

    Args:
        detector: the detector.

    Returns:
        Its kind, layers, threshold, unit, and its `sha256`, or where it has none the fingerprint of all that it holds.

    Raises:
        TypeError: it has no `sha256`, and holds something that cannot be read.
    """
    return {
        "kind": type(detector).__name__,
        "layers": list(detector.layers),
        "threshold": float(detector.threshold),
        "unit": float(detector.unit),
        "sha256": _sha256(detector),
    }


def _sha256(detector: Detector) -> str:
    given: str | None = getattr(detector, "sha256", None)
    if given is not None:
        return given
    try:
        return fingerprint(detector)
    except TypeError as error:
        raise TypeError(f"detector must have a property sha256 of what it was fitted to: {error}") from None


def excess(detector: Detector, features: Features) -> Tensor:
    """How far the score is above the threshold, in the detector's unit.

    Args:
        detector: the detector.
        features: of its layers.

    Returns:
        [N] float32, above 0 exactly where an image is detected.
    """
    above = (detector.score(features).double() - detector.threshold) / detector.unit
    # A difference that float32 cannot tell from 0 stays on its side.
    least = torch.finfo(torch.float32).tiny
    return torch.where(above > 0, above.clamp_min(least), above).float()


def threshold_at(scores: Tensor, false_positive_rate: float) -> float:
    """The lowest of the scores of clean images above which at most a given share of them lies.

    Args:
        scores: [N], of clean images that the detector was not fitted on.
        false_positive_rate: from 0 to below 1.

    Returns:
        One of the scores.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> threshold_at(torch.arange(100.0), 0.29)
    70.0
    """
    rate = _arguments.real(false_positive_rate, "false_positive_rate", at_least=0, below=1)
    if scores.ndim != 1 or len(scores) == 0 or not bool(torch.isfinite(scores).all()):
        raise ValueError(f"scores must be finite, one per image, got {list(scores.shape)}.")
    # One part in 10^9 more, as 0.29 of 100 images are 28.999999999999996.
    above = math.floor(rate * len(scores) * (1 + 1e-9))
    return float(scores.sort().values[len(scores) - 1 - above])
