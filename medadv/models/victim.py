"""The model under attack: the one place that knows its task, image range, normalisation and number type."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from itertools import chain
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from medadv import _arguments
from medadv._graph import without_graph
from medadv.models.features import Features, tapped
from medadv.models.task import TASKS, Task

_CHECK_BATCH = 64
_FLOAT32 = torch.empty(0)

Self = TypeVar("Self", bound="Victim")


class Victim:
    """A model under attack, with what it takes to ask it a question.

    Images come in their own units and stay float32; normalisation and the cast to the module's number type happen
    inside. The module is never changed: no mode, gradient, hook or parameter of it.

    Args:
        module: the network, in ``eval()`` mode, from images [N, C, H, W] or [N, C, D, H, W] to logits.
        task: "multiclass", "binary", "multilabel", or a `Task`.
        bounds: lowest and highest possible value of an image, in image units: (0, 1), or (-1024, 3071) for CT.
            Compared with images in float32. Budgets are fractions of high - low.
        mean: subtracted from the image before the module sees it, in image units; one number or one per channel.
        std: then divided by, in image units, above 0; one number or one per channel.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()
    >>> victim = Victim(net, bounds=(-1024, 3071), mean=0.0, std=500.0)
    >>> victim
    Victim(Sequential, task=multiclass, bounds=(-1024.0, 3071.0))
    >>> victim(torch.zeros(2, 1, 4, 4)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        task: str | Task = "multiclass",
        bounds: tuple[float, float] = (0.0, 1.0),
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
    ) -> None:
        if not isinstance(module, nn.Module):
            raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}.")
        self.module = module
        self.task = _task(task)
        self.bounds = _bounds(bounds)
        self.mean = _per_channel(mean, "mean")
        self.std = _per_channel(std, "std")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError(f"std must be above 0, got {std!r}.")
        self.num_classes: int | None = None
        self.batch_size: int | None = None
        self._after_batch: Callable[[], None] | None = None
        self._parameter: Tensor | None = None  # the first one, found anew whenever the module is checked

    @property
    def scale(self) -> float:
        """Width of the image range, high - low, in image units."""
        return self.bounds[1] - self.bounds[0]

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the module's parameters, float32 if it has none."""
        if self._parameter is None:
            self._parameter = _number_type(_parts(self.module))
        return self._parameter.dtype

    @property
    def passes(self) -> int:
        """How many passes of the module one answer takes: 1, or the number of draws of a `RandomisedVictim`."""
        return 1

    @property
    def randomised(self) -> bool:
        """Whether the module draws random numbers."""
        return False

    @property
    def guarded(self) -> bool:
        """Whether a detector may reject images, see `medadv.detectors.GuardedVictim`."""
        return False

    def configuration(self) -> dict[str, Any]:
        """Everything beyond the module that decides the answers, by name, in plain JSON values.

        >>> Victim(nn.Identity(), mean=0.5).configuration()
        {'kind': 'Victim', 'task': 'multiclass', 'bounds': [0.0, 1.0], 'mean': [0.5], 'std': None}
        """
        return {
            "kind": type(self).__name__,
            "task": self.task.name,
            "bounds": list(self.bounds),
            "mean": None if self.mean is None else list(self.mean),
            "std": None if self.std is None else list(self.std),
        }

    def fresh(self, *key: int) -> Victim:
        """The victim in another draw of its random numbers, if it has any.

        Args:
            key: whole numbers that name the draw.

        Returns:
            A victim whose answer takes one pass; this one where nothing is random.
        """
        return self

    def __call__(self, images: Tensor) -> Tensor:
        """Class logits of images; differentiable.

        Args:
            images: [N, C, *S] float32, inside `bounds`; not checked here (see `check`).

        Returns:
            Logits [N, K] float32; one logit z of a binary model becomes [0, z], so that K >= 2 but for findings.
        """
        logits = self.task.logits(self._in_parts(images))
        self.num_classes = logits.shape[1]
        return logits

    def in_batches_of(self: Self, batch_size: int, after_each: Callable[[], None] | None = None) -> Self:
        """The same victim, whose module is shown no more images at once.

        An attack may then work on many more images than that: as images leave, the others are packed anew, so that
        batches stay full to the end. Gradients of them are taken pack by pack.

        Args:
            batch_size: at least 1.
            after_each: called after each batch that was shown; what it raises stops the attack.

        Returns:
            A new victim of the same module.

        Raises:
            TypeError, ValueError: not a whole number of at least 1.

        >>> victim = Victim(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval())
        >>> with torch.no_grad():
        ...     print(victim.in_batches_of(2, lambda: print("shown"))(torch.zeros(4, 1, 4, 4)).shape)
        shown
        shown
        torch.Size([4, 3])
        """
        other = copy(self)
        other.batch_size = _arguments.whole(batch_size, "batch_size", at_least=1)
        other._after_batch = after_each
        return other

    def look(self, images: Tensor, layers: Sequence[str]) -> tuple[Tensor, Features]:
        """Class logits of images, and what parts of the module said on the way; one pass, differentiable.

        Args:
            images: [N, C, *S] float32, inside `bounds`.
            layers: names of parts, see `medadv.models.features.tapped`.

        Returns:
            Logits [N, K] float32, and for each layer its channels averaged over the voxels, [N, P] float64.

        Raises:
            TypeError, ValueError: a layer that has no such features.
        """
        if not layers:
            return self(images), {}
        with tapped(self.module, layers) as features:
            logits = self(images)
        return logits, features

    def correct(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Whether the answers are right.

        Args:
            logits: [N, K] of this victim.
            targets: [N] int64, or [N, K] where the task is "multilabel".

        Returns:
            bool [N].
        """
        return self.verdict(logits, targets)[1]

    def verdict(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The answers, and whether they are right, in one look at the logits.

        Args:
            logits, targets: as for `correct`.

        Returns:
            [N] int64, or [N, K] where the task is "multilabel"; and bool [N].
        """
        return self.task.verdict(logits, targets)

    def check(self, images: Tensor, targets: Tensor) -> None:
        """Refuse images, targets or a model that would make an evaluation wrong.

        Args:
            images: [N, C, H, W] or [N, C, D, H, W] float32, finite, inside `bounds`, N >= 1.
            targets: [N] int64 class numbers on the device of the images; [N, K] int64 of 0 and 1 for "multilabel".

        Raises:
            TypeError, ValueError: one sentence on what is wrong: type, dtype, shape, values outside the bounds, not
                finite, labels that name no class, a module in training mode, another device, a module that cannot
                read the images, outputs that are no logits, not finite or probabilities.
        """
        self.clean_logits(images, targets)

    def clean_logits(self, images: Tensor, targets: Tensor) -> Tensor:
        """The logits [N, K] float32 that `check` computes anyway; one forward pass per image, same errors."""
        self.check_arguments(images, targets)
        with torch.no_grad():
            outputs = [self._try(part) for part in images.split(self.batch_size or _CHECK_BATCH)]
        return self._judged(torch.cat(outputs), targets)

    def clean_logits_in_parts(self, parts: Iterable[Tensor], targets: Tensor) -> Tensor:
        """As `clean_logits`, for more images than the device can hold.

        Args:
            parts: the images, some at a time; each part is let go before the next.
            targets: of all images, on the device of the parts.

        Returns:
            Logits [N, K] float32.
        """
        outputs, count = [], 0
        for images in parts:
            self._check_images(images)
            self._check_devices(images, targets)
            with torch.no_grad():
                outputs.append(self._try(images))
            count += len(images)
        self.task.check_targets(targets, count)
        return self._judged(torch.cat(outputs), targets)

    def check_arguments(self, images: Tensor, targets: Tensor) -> None:
        """What `check` can refuse without asking the module."""
        self._check_images(images)
        self.task.check_targets(targets, images.shape[0])
        self._check_devices(images, targets)

    def clean_look(self, images: Tensor, targets: Tensor, layers: Sequence[str]) -> tuple[Tensor, Features]:
        """As `look`, but the answers are checked as by `check`; its arguments must have passed `check_arguments`.

        Args:
            images, targets: as in `check`.
            layers: names of parts, see `medadv.models.features.tapped`.

        Returns:
            Logits [N, K] float32, and for each layer [N, P] float64.
        """
        if not layers:
            return self._judged(self._try(images), targets), {}
        with tapped(self.module, layers) as features:
            outputs = self._try(images)
        return self._judged(outputs, targets), features

    def __repr__(self) -> str:
        return f"{type(self).__name__}({type(self.module).__name__}, task={self.task.name}, bounds={self.bounds})"

    def _in_parts(self, images: Tensor) -> Tensor:
        whole = self.batch_size is None or torch.is_grad_enabled()
        outputs = []
        for part in (images,) if whole else images.split(self.batch_size):
            outputs.append(self._outputs(part))
            if self._after_batch is not None:
                self._after_batch()
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    def _outputs(self, images: Tensor) -> Tensor:
        inputs = self._normalise(images)
        inputs = inputs if inputs.dtype == self.dtype else inputs.to(self.dtype)
        # A module that works in place (a first ReLU, say) must not reach the caller's images.
        return self._answer(inputs.clone() if inputs is images else inputs)

    def _answer(self, inputs: Tensor) -> Tensor:
        outputs = self.module(inputs)
        if not isinstance(outputs, Tensor):
            raise TypeError(f"the model must return one tensor of logits, got {type(outputs).__name__}.")
        return outputs

    def _normalise(self, images: Tensor) -> Tensor:
        if self.mean is None and self.std is None:
            return images
        shape = (1, -1, *[1] * (images.ndim - 2))
        if self.mean is not None:
            images = images - images.new_tensor(self.mean).reshape(shape)
        if self.std is not None:
            images = images / images.new_tensor(self.std).reshape(shape)
        return images

    def _check_images(self, images: Tensor) -> None:
        if not isinstance(images, Tensor):
            raise TypeError(f"images must be a torch.Tensor, got {type(images).__name__}.")
        if images.dtype != torch.float32:
            raise TypeError(f"images must be float32, got {images.dtype}.")
        if images.ndim not in (4, 5):
            raise ValueError(
                f"images must have 4 or 5 axes, [N, C, H, W] or [N, C, D, H, W], got {list(images.shape)}."
            )
        if images.numel() == 0:
            raise ValueError(f"images must not be empty, got shape {list(images.shape)}.")
        low, high = self.bounds
        # NaN goes through. One pass over the images, where comparing each voxel takes eight.
        extremes = without_graph(images).aminmax()
        lowest, highest = float(extremes.min), float(extremes.max)
        if not (math.isfinite(lowest) and math.isfinite(highest)):
            raise ValueError("images must be finite, got NaN or infinity.")
        # A bound between two float32 is the nearer of them; no float32 beyond that one is inside the bound itself.
        if (lowest < low or highest > high) and (lowest < np.float32(low) or highest > np.float32(high)):
            raise ValueError(
                f"images must lie inside the bounds [{low:g}, {high:g}], got values from {lowest:g} to {highest:g}."
            )
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) not in (1, images.shape[1]):
                raise ValueError(f"{name} has {len(values)} values, but the images have {images.shape[1]} channels.")

    def _check_module(self, images: Tensor) -> None:
        parts = _parts(self.module)
        # A frozen TorchScript module has no mode: it was frozen in eval().
        training = [part for part in parts if getattr(part, "training", False) and not self._may_train(part)]
        if training:
            name = next(name for name, part in self.module.named_modules() if part in training)
            where = f"its part {name!r}" if name else "it"
            raise ValueError(f"the model must be in eval() mode, but {where} is in training mode.")
        self._parameter = _number_type(parts)
        first = _first_tensor(parts) if self._parameter is _FLOAT32 else self._parameter
        if first is not None and first.device != images.device:
            raise ValueError(f"images must be on the device of the model, {first.device}, got {images.device}.")

    def _may_train(self, part: nn.Module) -> bool:
        """Whether a part may be in training mode."""
        return False

    def _check_devices(self, images: Tensor, targets: Tensor) -> None:
        self._check_module(images)
        if targets.device != images.device:
            raise ValueError(f"targets must be on the device of the images, {images.device}, got {targets.device}.")

    def _try(self, images: Tensor) -> Tensor:
        try:
            outputs = self._outputs(images)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0]
            raise ValueError(f"the model cannot read images of shape {list(images.shape)}: {reason}") from error
        if outputs.ndim == 0:
            raise ValueError("the model must return logits per image, got a single number.")
        return outputs

    def _judged(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The logits of outputs that can be such."""
        self.task.check_outputs(outputs.detach(), targets.shape[0])
        logits = self.task.logits(outputs)
        self.num_classes = logits.shape[1]
        self.task.check_labels(targets, self.num_classes)
        return logits


def _parts(module: nn.Module) -> list[nn.Module]:
    """A module and all its parts, each once, as `modules` gives them; that spends most of its time on names."""
    parts: dict[int, nn.Module] = {}
    waiting: list[nn.Module | None] = [module]
    while waiting:
        part = waiting.pop()
        if part is not None and id(part) not in parts:
            parts[id(part)] = part
            if part._modules:  # most have none
                waiting.extend(reversed(part._modules.values()))
    return list(parts.values())


def _number_type(parts: list[nn.Module]) -> Tensor:
    """A tensor of the type that the module computes in."""
    for part in parts:
        for tensor in part._parameters.values():
            if tensor is not None and tensor.is_floating_point():
                return tensor
    return _FLOAT32


def _first_tensor(parts: list[nn.Module]) -> Tensor | None:
    """The first parameter, or the first buffer if there are none."""
    parameters = (tensor for part in parts for tensor in part._parameters.values())
    buffers = (tensor for part in parts for tensor in part._buffers.values())
    return next((tensor for tensor in chain(parameters, buffers) if tensor is not None), None)


def _task(task: str | Task) -> Task:
    if isinstance(task, str):
        return TASKS[_arguments.choice(task, "task", tuple(TASKS))]()
    if isinstance(task, type) or not isinstance(task, Task):
        raise TypeError(f"task must be one of {', '.join(TASKS)} or a Task, got {task!r}.")
    return task


def _bounds(bounds: tuple[float, float]) -> tuple[float, float]:
    if not isinstance(bounds, (tuple, list)) or len(bounds) != 2:
        raise TypeError(f"bounds must be a pair (low, high), got {bounds!r}.")
    low, high = (_arguments.real(bound, "bounds") for bound in bounds)
    if not low < high:
        raise ValueError(f"bounds must be (low, high) with low < high, got {bounds!r}.")
    return low, high


def _per_channel(values: float | Sequence[float] | None, name: str) -> tuple[float, ...] | None:
    if values is None:
        return None
    if not isinstance(values, Sequence):
        return (_arguments.real(values, name),)
    if len(values) == 0 or isinstance(values, str):
        raise TypeError(f"{name} must be a number or one number per channel, got {values!r}.")
    return tuple(_arguments.real(value, name) for value in values)
