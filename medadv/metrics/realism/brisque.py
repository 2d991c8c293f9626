"""The BRISQUE score, with regression weights from files that the user has."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from medadv.metrics.realism._images import Bounds
from medadv.metrics.realism.natural_scene import natural_scene_features

_FEATURES = 36
_MAX_BYTES = 2**26  # the released weights are under 1 MiB
_TOGETHER = 256  # images whose kernels are held at once


@dataclass(frozen=True, eq=False)
class BrisqueModel:
    """Support vector regression from natural-scene features to a score: about 0, natural, to 100, distorted.

    Mittal, Moorthy, Bovik, "No-reference image quality assessment in the spatial domain" (2012). The weights come from
    the two text files of LIBSVM that its authors released, "allmodel" of svm-train and "allrange" of svm-scale; medadv
    has none. They were fitted to photographs: of medical images the difference to the clean image is what to look at.
    The features are our `natural_scene_features`, where neighbours do not wrap round at the border as in the authors'
    code.

    Args:
        vectors: [V, 36] float64, support vectors, of scaled features.
        weights: [V] float64.
        offset: subtracted from the sum ("rho").
        gamma: of the kernel exp(-gamma |x - y|^2), above 0.
        lowest, highest: [36] float64, the features that become -1 and 1 (or the ends of `scaled_to`).
        scaled_to: ends of the scaled features.

    >>> vectors, weights = torch.zeros(1, 36, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    >>> model = BrisqueModel(vectors, weights, offset=-2.0, gamma=0.5, lowest=vectors[0], highest=vectors[0] + 1)
    >>> model.score_features(torch.full((1, 36), 0.5))
    tensor([3.], dtype=torch.float64)
    """

    vectors: Tensor
    weights: Tensor
    offset: float
    gamma: float
    lowest: Tensor
    highest: Tensor
    scaled_to: tuple[float, float] = (-1.0, 1.0)

    @classmethod
    def read(cls, model: str | os.PathLike[str], ranges: str | os.PathLike[str]) -> BrisqueModel:
        """Read weights from text files of LIBSVM; nothing in them is run.

        Args:
            model: what svm-train writes for epsilon or nu regression with an RBF kernel.
            ranges: what svm-scale writes with -s.

        Returns:
            The model.

        Raises:
            ValueError: a file that is missing, too large, or not of this format: one sentence that names file and line.

        """
        gamma, offset, weights, vectors = _read_model(Path(model))
        scaled_to, lowest, highest = _read_ranges(Path(ranges))
        return cls(vectors, weights, offset, gamma, lowest, highest, scaled_to)

    def score(self, images: Tensor, bounds: Bounds = (0.0, 1.0)) -> Tensor:
        """The score of images.

        Args:
            images: [N, C, H, W], floating point, see `natural_scene_features`.
            bounds: (low, high) in image units.

        Returns:
            [N] float64, lower is more natural; not cut off at 0 and 100.

        Raises:
            TypeError, ValueError: what `natural_scene_features` refuses.
        """
        return self.score_features(natural_scene_features(images, bounds))

    def score_features(self, features: Tensor) -> Tensor:
        """The score of features.

        Args:
            features: [N, 36] of `natural_scene_features`.

        Returns:
            [N] float64.

        Raises:
            ValueError: features of another shape.
        """
        if features.ndim != 2 or features.shape[1] != _FEATURES:
            raise ValueError(f"features must be [N, {_FEATURES}], got {list(features.shape)}.")
        device = features.device
        vectors, weights = self.vectors.to(device), self.weights.to(device)
        parts = [
            torch.exp(-self.gamma * (vectors - part.unsqueeze(1)).square().sum(2)) @ weights - self.offset
            for part in self._scaled(features.double()).split(_TOGETHER)
        ]
        return torch.cat(parts) if parts else features.new_zeros(0, dtype=torch.float64)

    def _scaled(self, features: Tensor) -> Tensor:
        """As svm-scale: a feature that was the same in all of its training images has no say."""
        low, high = self.scaled_to
        lowest, width = self.lowest.to(features.device), (self.highest - self.lowest).to(features.device)
        scaled = low + (high - low) * (features - lowest) / torch.where(width > 0, width, 1.0)
        return torch.where(width > 0, scaled, 0.0)


def _read_model(path: Path) -> tuple[float, float, Tensor, Tensor]:
    """gamma, rho, weights [V] and support vectors [V, 36] of a model file of svm-train."""
    lines = _lines(path)
    header: dict[str, str] = {}
    start = next((number for number, line in enumerate(lines) if line.strip() == "SV"), None)
    if start is None:
        raise ValueError(f"{path}: a model file of LIBSVM expected, which has a line SV before its support vectors.")
    for number, line in enumerate(lines[:start], start=1):
        word, _, value = line.strip().partition(" ")
        if not value or word in header:
            raise ValueError(f"{path}: line {number} of the header is not a word and its value, got {line[:40]!r}.")
        header[word] = value
    if header.get("svm_type") not in ("epsilon_svr", "nu_svr") or header.get("kernel_type") != "rbf":
        found = f"{header.get('svm_type')} with kernel {header.get('kernel_type')}"
        raise ValueError(f"{path}: svm_type epsilon_svr or nu_svr with kernel_type rbf expected, got {found}.")
    gamma, offset = (_number(path, f"{word} of the header", header.get(word, "")) for word in ("gamma", "rho"))
    if gamma <= 0:
        raise ValueError(f"{path}: gamma must be above 0, got {gamma:g}.")
    rows = [(number, line.split()) for number, line in enumerate(lines[start + 1 :], start=start + 2) if line.strip()]
    if header.get("total_sv") != str(len(rows)) or not rows:
        raise ValueError(f"{path}: total_sv says {header.get('total_sv')} support vectors, and there are {len(rows)}.")
    weights = torch.tensor([_number(path, f"line {number}", cells[0]) for number, cells in rows], dtype=torch.float64)
    vectors = torch.zeros(len(rows), _FEATURES, dtype=torch.float64)
    for row, (number, cells) in enumerate(rows):
        for cell in cells[1:]:
            index, _, value = cell.partition(":")
            vectors[row, _feature(path, number, index)] = _number(path, f"line {number}", value)
    return gamma, offset, weights, vectors


def _read_ranges(path: Path) -> tuple[tuple[float, float], Tensor, Tensor]:
    """Ends of the scaled features, and lowest and highest of each feature [36], of a file of svm-scale."""
    lines = _lines(path)
    if len(lines) < 3 or lines[0].strip() != "x":
        raise ValueError(f"{path}: a range file of svm-scale expected, whose first line is x.")
    low, high = _numbers(path, 2, lines[1].split(), 2)
    if not low < high:
        raise ValueError(f"{path}: line 2 must be two numbers that rise, got {lines[1].strip()!r}.")
    lowest, highest = torch.zeros(2, _FEATURES, dtype=torch.float64)
    for number, line in enumerate(lines[2:], start=3):
        if not line.strip():
            continue
        index, *ends = line.split()
        feature = _feature(path, number, index)
        lowest[feature], highest[feature] = _numbers(path, number, ends, 2)
        if lowest[feature] > highest[feature]:
            raise ValueError(f"{path}: line {number} has a lowest value above the highest, got {line.strip()!r}.")
    return (low, high), lowest, highest


def _lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"{path}: larger than {_MAX_BYTES} bytes.")
        return path.read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text file of LIBSVM.") from None


def _feature(path: Path, number: int, text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _FEATURES:
        raise ValueError(f"{path}: line {number} must number its features from 1 to {_FEATURES}, got {text[:20]!r}.")
    return int(text) - 1


def _numbers(path: Path, number: int, texts: list[str], count: int) -> list[float]:
    if len(texts) != count:
        raise ValueError(f"{path}: line {number} must have {count} values, got {len(texts)}.")
    return [_number(path, f"line {number}", text) for text in texts]


def _number(path: Path, where: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{path}: {where} must be a finite number, got {text[:20]!r}.")
    return value
