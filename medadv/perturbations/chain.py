"""Several perturbations, one after the other, within one budget."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medadv import _arguments
from medadv.perturbations.motion import share_of
from medadv.perturbations.perturbation import Bounds, Draw, Parameters, Perturbation


@dataclass(frozen=True)
class Chain:
    """The first part changes the image, the second what the first has made of it, and so on.

    Args:
        parts: at least one perturbation.
        strength: which part of each one's budget is allowed, above 0 and at most 1 (see `Perturbation.scaled`).

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> from medadv.perturbations import Additive, SplineBiasField
    >>> both = Chain((SplineBiasField(1.3), Additive(2 / 255)), strength=0.5)
    >>> x = torch.rand(1, 1, 8, 8)
    >>> sorted(both.identity(x))
    ['0.lattice', '1.noise']
    """

    parts: tuple[Perturbation, ...]
    strength: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.parts, tuple | list) or not all(map(_is_perturbation, self.parts)):
            raise TypeError(f"parts must be a tuple of perturbations, got {self.parts!r}.")
        if not self.parts:
            raise ValueError("parts must be at least one perturbation, got none.")
        object.__setattr__(self, "parts", tuple(self.parts))
        object.__setattr__(self, "strength", _arguments.real(self.strength, "strength", above=0))
        if self.strength > 1:
            raise ValueError(f"strength must be at most 1, got {self.strength!r}.")

    def identity(self, images: Tensor) -> Parameters:
        """What changes nothing.

        Args:
            images: [N, C, *S] float32.

        Returns:
            The parameters of every part, by their names with the number of the part in front, as "0.lattice".
        """
        return _joined([part.identity(images) for part in self.parts])

    def random(self, images: Tensor, draw: Draw, bounds: Bounds) -> Parameters:
        """Parameters drawn inside every budget.

        Args:
            images: [N, C, *S] float32 inside `bounds`.
            draw: random numbers per example.
            bounds: (low, high) in image units.

        Returns:
            As `identity` names them.
        """
        drawn = []
        for part in self._scaled_parts():
            drawn.append(part.random(images, draw, bounds))
            images = part.apply(images, drawn[-1], bounds)
        return _joined(drawn)

    def apply(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        """The images after the last part.

        Args:
            images: [N, C, *S] float32 inside `bounds`.
            parameters: as `identity` names them.
            bounds: (low, high) in image units.

        Returns:
            Images [N, C, *S] float32 inside `bounds`.
        """
        for number, part in enumerate(self._scaled_parts()):
            images = part.apply(images, _part(parameters, number), bounds)
        return images

    def project(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Parameters:
        """Every part's parameters moved into its budget, in turn.

        Args:
            images: [N, C, *S] float32 inside `bounds`.
            parameters: as `identity` names them.
            bounds: (low, high) in image units.

        Returns:
            The same names and shapes.
        """
        projected = []
        for number, part in enumerate(self._scaled_parts()):
            projected.append(part.project(images, _part(parameters, number), bounds))
            images = part.apply(images, projected[-1], bounds)
        return _joined(projected)

    def penalty(self, images: Tensor, parameters: Parameters) -> Tensor:
        """The sum of the parts' penalties.

        Args:
            images: [N, C, *S].
            parameters: as `identity` names them.

        Returns:
            [N] float32, at least 0.
        """
        penalties = [
            part.penalty(images, _part(parameters, number)) for number, part in enumerate(self._scaled_parts())
        ]
        return torch.stack(penalties).sum(0)

    def distance(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        """The largest share of a part's budget.

        Args:
            images: [N, C, *S] float32 inside `bounds`.
            parameters: as `identity` names them.
            bounds: (low, high) in image units.

        Returns:
            [N] float64, at most `strength` for projected parameters, up to rounding.
        """
        shares = []
        for number, part in enumerate(self._scaled_parts()):
            own = _part(parameters, number)
            shares.append(part.share(images, own, bounds))
            images = part.apply(images, own, bounds).detach()
        return torch.stack(shares).amax(dim=0) * self.strength

    def radii(self, bounds: Bounds) -> dict[str, float]:
        """The radii of every part.

        Args:
            bounds: (low, high) in image units.

        Returns:
            As `identity` names them.
        """
        return {
            f"{number}.{name}": radius
            for number, part in enumerate(self._scaled_parts())
            for name, radius in part.radii(bounds).items()
        }

    def share(self, images: Tensor, parameters: Parameters, bounds: Bounds) -> Tensor:
        """Which part of the strength is used, [N] float64."""
        return share_of(self.distance(images, parameters, bounds), self.strength)

    def scaled(self, factor: float) -> Chain:
        """The same with `factor` times the strength."""
        return replace(self, strength=self.strength * factor)

    def _scaled_parts(self) -> tuple[Perturbation, ...]:
        return tuple(part.scaled(self.strength) for part in self.parts)


def _is_perturbation(part: object) -> bool:
    return isinstance(part, Perturbation) and not isinstance(part, type)


def _joined(parts: list[Parameters]) -> Parameters:
    return {f"{number}.{name}": values for number, part in enumerate(parts) for name, values in part.items()}


def _part(parameters: Parameters, number: int) -> Parameters:
    prefix = f"{number}."
    return {name.removeprefix(prefix): values for name, values in parameters.items() if name.startswith(prefix)}
