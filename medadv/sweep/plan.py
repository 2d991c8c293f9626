"""What an evaluation is: a model, images, and attacks with their budgets; and its plan, cut into units."""

from __future__ import annotations

import contextlib
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import medadv
from medadv import _arguments
from medadv.data import ImageSet
from medadv.models import Victim, model_sha256
from medadv.ops import build_info
from medadv.sweep.curve import Curve
from medadv.sweep.device_images import DeviceImages
from medadv.sweep.unit import Unit

__all__ = ["Curve", "Evaluation", "differences", "versions"]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One model, one set of images, attacks with their budgets, one seed.

    Args:
        victim: the model under attack, on the device where everything is computed.
        source: how the model was named, such as "package.module:function".
        data: the images, with the bounds of the victim; they stay in the memory of the host.
        path: how the images were named.
        curves: attacks with their budgets, no label twice.
        seed: of all random starts and draws, 0 to 2^64 - 1; replaces the seeds of the attacks.
        falling: run the budgets of an attack that can from the largest to the smallest, each image until it withstands;
            else from the smallest to the largest, each image until it breaks.
        shard_size: images per unit, at least 1.
        batch_size: clean images shown to the model at once, at least 1.

    Raises:
        TypeError, ValueError: an argument is not what it must be.
    """

    victim: Victim
    source: str
    data: ImageSet
    path: str
    curves: tuple[Curve, ...]
    seed: int = 0
    falling: bool = True
    shard_size: int = 256
    batch_size: int = 64

    def __post_init__(self) -> None:
        _arguments.whole(self.seed, "seed", at_least=0, below=2**64)
        _arguments.flag(self.falling, "falling")
        _arguments.whole(self.shard_size, "shard_size", at_least=1)
        _arguments.whole(self.batch_size, "batch_size", at_least=1)
        if self.data.bounds != self.victim.bounds:
            raise ValueError(f"data must have the bounds of the victim, {self.victim.bounds}, got {self.data.bounds}.")
        if not self.curves:
            raise ValueError("curves must hold at least one attack.")
        repeated = [label for label, times in Counter(curve.label for curve in self.curves).items() if times > 1]
        if repeated:
            raise ValueError(f"curves must name each attack once, got {repeated[0]} more than once.")
        object.__setattr__(self, "curves", tuple(curve.seeded(self.seed) for curve in self.curves))

    @property
    def gradient_curves(self) -> tuple[Curve, ...]:
        """The curves of attacks that follow gradients of the model itself within a budget."""
        return tuple(curve for curve in self.curves if curve.gradient_attacks)

    @property
    def transfer_curves(self) -> tuple[Curve, ...]:
        """The curves of attacks that are made on another model."""
        return tuple(curve for curve in self.curves if curve.surrogate is not None)

    def kind_of(self, curve: Curve) -> str:
        """How the budgets of an attack are run.

        Args:
            curve: one of `curves`.

        Returns:
            "falling" or "rising"; "read off" where the attack looks for the smallest change. Where there is a detector
            budgets rise, as it notices a large change more easily.
        """
        if curve.finds_smallest:
            return "read off"
        return "falling" if self.falling and curve.can_fall and not self.victim.guarded else "rising"

    @cached_property
    def device(self) -> torch.device:
        """Where the model is."""
        module = self.victim.module
        tensors: Sequence[Tensor] = [*module.parameters(), *module.buffers()]
        return tensors[0].device if tensors else torch.device("cpu")

    @cached_property
    def images(self) -> DeviceImages:
        """[N, C, *S] float32; those asked for come to the device."""
        return DeviceImages(self.data.images, self.device)

    @cached_property
    def targets(self) -> Tensor:
        """[N] int64, or [N, K] of several labels, on the device."""
        return torch.from_numpy(self.data.labels).to(self.device)

    @cached_property
    def logits(self) -> Tensor:
        """What the model says about the clean images, [N, K]; raises what `Victim.check` raises."""
        return self.victim.clean_logits_in_parts(self.images.parts(self.batch_size), self.targets)

    @cached_property
    def model_sha256(self) -> str:
        """Fingerprint of the weights before anything was run."""
        return model_sha256(self.victim.module)

    @property
    def shards(self) -> list[tuple[int, int]]:
        """Number of the first and the last image of each unit."""
        firsts = range(0, len(self.data), self.shard_size)
        return [(first, min(first + self.shard_size, len(self.data)) - 1) for first in firsts]

    def attack_unit(self, curve: Curve, step: int, shard: int) -> Unit:
        """The unit of one attack, one budget and one shard.

        Args:
            curve: one of `curves`.
            step: index of the budget in the curve.
            shard: index of the shard.

        Returns:
            The unit. What else its rows depend on is among its fields: the smaller budgets, because an image that they
            break keeps that result, and the larger ones where budgets fall.
        """
        kind = self.kind_of(curve)
        attack = curve.attack if curve.finds_smallest else curve.attacks[step]
        fields = {**self._shard(shard), **curve.described(attack), "budget": curve.budgets[step], "curve": kind}
        if kind == "read off":
            return Unit("attack", {**fields, "smaller_budgets": [], "search": self.search_unit(curve, shard).id})
        fields["smaller_budgets"] = list(curve.budgets[:step])
        if kind == "falling":
            fields["larger_budgets"] = list(curve.budgets[step + 1 :])
        return Unit("attack", fields)

    def search_unit(self, curve: Curve, shard: int) -> Unit:
        """The unit of one attack that looks for the smallest change, and one shard; its budgets are read off later.

        Args:
            curve: one of `curves`.
            shard: index of the shard.

        Returns:
            The unit.
        """
        return Unit("search", {**self._shard(shard), **curve.described(curve.attack)})

    def check_unit(self) -> Unit:
        """The unit of the trust checks."""
        return Unit("check", {**self._identity, "attacks": self._attacks, "shards": _lists(self.shards)})

    def units(self) -> list[Unit]:
        """All units, in the order in which they are done."""
        units = []
        for shard in range(len(self.shards)):
            for curve in self.curves:
                if curve.finds_smallest:
                    units.append(self.search_unit(curve, shard))
                units += [self.attack_unit(curve, step, shard) for step in range(len(curve.budgets))]
        return [*units, self.check_unit()]

    def plan(self) -> dict[str, Any]:
        """The content of plan.json, as plain JSON values."""
        return {
            "medadv": medadv.__version__,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "model": {"source": self.source, "sha256": self.model_sha256, **self._victim},
            "data": {
                "path": self.path,
                "sha256": self.data.sha256,
                "count": len(self.data),
                "class_names": list(self.data.class_names),
                "shape": list(self.data.images.shape[1:]),
                "bounds": list(self.data.bounds),
            },
            "attacks": self._attacks,
            "seed": self.seed,
            "shards": _lists(self.shards),
            "versions": versions(self.device),
            "units": [unit.id for unit in self.units()],
        }

    @property
    def _attacks(self) -> list[dict[str, Any]]:
        return [
            {
                "name": curve.label,
                "configuration": _without(curve.described(curve.attack)["configuration"], curve.budget_field),
                "budgets": list(curve.budgets),
                "curve": self.kind_of(curve),
            }
            for curve in self.curves
        ]

    def _shard(self, shard: int) -> dict[str, Any]:
        first, last = self.shards[shard]
        return {**self._identity, "shard": shard, "first": first, "last": last}

    @cached_property
    def _victim(self) -> dict[str, Any]:
        """What decides the answers beside the weights, and the number that stands for "rejected" among them."""
        configuration = self.victim.configuration()
        return {**configuration, "rejection": self.logits.shape[1] - 1} if self.victim.guarded else configuration

    @cached_property
    def _identity(self) -> dict[str, Any]:
        return {
            "model": self.source,
            "model_sha256": self.model_sha256,
            "victim": self._victim,
            "data_sha256": self.data.sha256,
            "seed": self.seed,
            "version": medadv.__version__,
        }


def differences(then: Any, now: Any, name: str = "") -> list[str]:
    """Where two plans differ.

    Args:
        then: plain JSON value.
        now: plain JSON value.
        name: how to call them.

    Returns:
        One phrase per place; of a list of what has names only these, where they differ.

    >>> differences({"seed": 0, "attacks": [{"name": "pgd"}]}, {"seed": 1, "attacks": [{"name": "pgd"}]})
    ['seed was 0 and is now 1']
    >>> differences({"attacks": [{"name": "pgd"}, {"name": "ddn"}]}, {"attacks": [{"name": "pgd"}]})
    ['attacks was pgd, ddn and is now pgd']
    """
    if isinstance(then, dict) and isinstance(now, dict):
        keys = dict.fromkeys([*then, *now])
        found = [differences(then.get(key), now.get(key), f"{name}.{key}" if name else key) for key in keys]
        return [phrase for phrases in found for phrase in phrases]
    names, others = _names(then), _names(now)
    if names and others and names != others:
        return [f"{name} was {', '.join(names)} and is now {', '.join(others)}"]
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        found = [differences(*pair, f"{name}[{index}]") for index, pair in enumerate(zip(then, now, strict=True))]
        return [phrase for phrases in found for phrase in phrases]
    return [] if then == now and type(then) is type(now) else [f"{name} was {then} and is now {now}"]


def _names(values: Any) -> list[str]:
    """The names in a list of what has names; empty for anything else."""
    if not isinstance(values, list) or not all(isinstance(value, dict) and "name" in value for value in values):
        return []
    return [value["name"] for value in values]


def versions(device: torch.device) -> dict[str, str]:
    """What computes the results here and now.

    Args:
        device: where the model is.

    Returns:
        Name to version, as text.

    >>> versions(torch.device("cpu"))["device"]
    'cpu'
    """
    return {
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "instructions": f"torch {torch.backends.cpu.get_cpu_capability()}, medadv {build_info()['instruction_set']}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }


def _processor() -> str:
    """Name of the processor, by which libraries choose their kernels; as much of it as the system tells."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _lists(pairs: list[tuple[int, int]]) -> list[list[int]]:
    return [list(pair) for pair in pairs]


def _without(values: dict[str, Any], name: str | None) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != name}
