"""What every attack is: an immutable description, without the model, that can be called."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor

from medadv.attacks.result import Result
from medadv.models.victim import Victim
from medadv.perturbations import Perturbation

Value = str | int | float | bool | None


@dataclass(frozen=True, repr=False)
class BaseAttack(ABC):
    """An attack as one value: comparable, hashable, printable.

    Attributes:
        name: on the command line and in results.
        sees_detectors: whether a `medadv.detectors.GuardedVictim` can be attacked with it.
    """

    name: ClassVar[str]
    sees_detectors: ClassVar[bool] = True

    @property
    @abstractmethod
    def perturbation(self) -> Perturbation:
        """What may change, and how much."""

    def configuration(self) -> dict[str, Value]:
        """Everything that decides the result, by name, in plain values: equal for equal attacks only.

        Returns:
            The attack's name under "name", then every field.
        """
        return {"name": self.name, **{item.name: _plain(getattr(self, item.name)) for item in fields(self)}}

    def __call__(self, victim: Victim, images: Tensor, targets: Tensor, ids: Tensor | None = None) -> Result:
        """Attack images; the victim is left as it was.

        Args:
            victim: the model under attack.
            images: [N, C, H, W] or [N, C, D, H, W] float32, inside the victim's bounds.
            targets: [N] int64, the right classes; [N, K] int64 of 0 and 1 where the victim's task is "multilabel".
            ids: [N] int64, numbers of the examples for random numbers; default 0 to N - 1.

        Returns:
            One row per image.

        Raises:
            TypeError, ValueError: what `Victim.check` and `check_victim` refuse; ids of another type or shape.
        """
        require_victim(victim)
        return self.run(victim, images, targets, ids, victim.clean_logits(images, targets), clean_forwards=1)

    def check_victim(self, victim: Victim) -> None:
        """Refuse what is no victim, or one of a kind that the attack cannot see the whole of.

        Args:
            victim: the model.

        Raises:
            TypeError, ValueError: one sentence that names what to take instead.
        """
        require_victim(victim)
        if victim.guarded and not self.sees_detectors:
            raise ValueError(
                f"{self.name} looks at a classifier alone, got {victim!r}: a guarded victim is attacked with "
                "Undetected() as the objective of PGD or APGD, or with Square or HopSkipJump."
            )

    def run(
        self,
        victim: Victim,
        images: Tensor,
        targets: Tensor,
        ids: Tensor | None,
        clean_logits: Tensor,
        clean_forwards: int = 0,
    ) -> Result:
        """As a call, for images that the victim has checked and answered already.

        Args:
            victim, images, targets, ids: as in a call.
            clean_logits: [N, K] from `Victim.clean_logits`.
            clean_forwards: how often to count them in the result.

        Returns:
            One row per image.
        """
        self.check_victim(victim)
        ids = checked_ids(ids, images)
        result = self._run(victim, images, targets, ids, clean_logits)
        result.forwards.add_(clean_forwards * victim.passes)
        return result

    @abstractmethod
    def _run(self, victim: Victim, images: Tensor, targets: Tensor, ids: Tensor, clean_logits: Tensor) -> Result:
        """The attack itself, on arguments that were checked."""

    def __repr__(self) -> str:
        own = [item for item in fields(self) if not item.kw_only]
        changed = [
            item
            for item in fields(self)
            if item.kw_only and (item.name == "steps" or getattr(self, item.name) != _default(item))
        ]
        shown = ", ".join(f"{item.name}={getattr(self, item.name)!r}" for item in own + changed)
        return f"{type(self).__name__}({shown})"


def require_victim(victim: object, name: str = "victim") -> None:
    """Refuse what is no victim, such as the network itself.

    Args:
        victim: what was given.
        name: of the argument.

    Raises:
        TypeError: it is none.

    >>> require_victim(torch.nn.Identity())
    Traceback (most recent call last):
    TypeError: victim must be a medadv.models.Victim, such as Victim(network), got Identity.
    """
    if not isinstance(victim, Victim):
        raise TypeError(f"{name} must be a medadv.models.Victim, such as Victim(network), got {type(victim).__name__}.")


def checked_ids(ids: Tensor | None, images: Tensor) -> Tensor:
    """Numbers of the examples on the device of the images.

    Args:
        ids: [N] int64, or None for 0 to N - 1.
        images: [N, ...].

    Returns:
        [N] int64.

    Raises:
        TypeError, ValueError: another type or shape.

    >>> checked_ids(None, torch.zeros(3, 1, 4, 4))
    tensor([0, 1, 2])
    """
    ids = torch.arange(len(images), device=images.device) if ids is None else ids
    if not isinstance(ids, Tensor) or ids.dtype != torch.int64:
        raise TypeError(f"ids must be an int64 tensor, got {getattr(ids, 'dtype', type(ids).__name__)}.")
    if tuple(ids.shape) != (len(images),):
        raise ValueError(f"ids must have shape [{len(images)}], one number per image, got {list(ids.shape)}.")
    return ids.to(images.device)


def _plain(value: object) -> Value:
    return value if isinstance(value, Value) else repr(value)


def _default(item: Field[Any]) -> object:
    return item.default if item.default_factory is MISSING else item.default_factory()
