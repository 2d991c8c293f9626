"""What a model does while it answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class ForwardWatch(TorchDispatchMode):
    """Sees every operation that runs while it is entered, in Python code, compiled code or functional transforms.

    Attributes:
        backward_operations: how many belonged to a backward pass: the model differentiates while it answers.
        random_operations: names of those that draw random numbers.
        stepped_operations: names of those that round or choose, so that their gradient is zero.

    >>> weights = torch.ones(3, requires_grad=True)
    >>> with ForwardWatch() as watch:
    ...     _ = torch.autograd.grad((weights * torch.rand(3)).sum(), weights)
    >>> watch.backward_operations > 0, sorted(watch.random_operations)
    (True, ['rand'])
    """

    def __init__(self) -> None:
        super().__init__()
        self.backward_operations = 0
        self.random_operations: set[str] = set()
        self.stepped_operations: set[str] = set()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        # The number of the backward pass that the engine is in, -1 outside of any, whoever started it and by what name.
        self.backward_operations += torch._C._current_graph_task_id() != -1
        name = func.overloadpacket.__name__.rstrip("_")
        if torch.Tag.nondeterministic_seeded in func.tags:
            self.random_operations.add(name)
        if name in _STEPS:
            self.stepped_operations.add(name)
        return func(*args, **(kwargs or {}))


_STEPS = {"round", "floor", "ceil", "trunc", "sign", "argmax", "argmin", "heaviside", "bucketize", "floor_divide"}
