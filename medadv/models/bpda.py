"""Defences that autograd cannot follow: what they do is kept, their gradient is replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from medadv._straight_through import straight_through


class BPDA(nn.Module):
    """A function as it is, with the gradient of another one: backward pass differentiable approximation.

    Athalye et al., "Obfuscated gradients give a false sense of security" (2018). For a preprocessing that rounds,
    compresses or sorts, and so hides the gradient of the model behind it. Put around it in the victim, every attack
    works: ``Victim(nn.Sequential(BPDA(rounded), network).eval())``. A `Victim` with `mean` or `std` normalises before.

    Args:
        function: from [N, ...] to a tensor, run on a copy and without gradient; it may leave torch (NumPy, Pillow).
            What it returns is brought to the number type and device of the input.
        stand_in: differentiable, from the same input to the same shape, run for its gradient alone; None: the
            identity, the straight-through estimator (Bengio et al., "Estimating or propagating gradients through
            stochastic neurons", 2013), which needs a function that changes neither shape nor meaning of its input.

    Raises:
        TypeError, ValueError: something that cannot be called; in a call, no tensor, or another shape than the
            stand-in's.

    >>> layer = BPDA(torch.round)
    >>> x = torch.tensor([[0.2, 0.7]], requires_grad=True)
    >>> layer(x)
    tensor([[0., 1.]], ...)
    >>> torch.autograd.grad(layer(x).sum(), x)[0]
    tensor([[1., 1.]])
    """

    def __init__(
        self, function: Callable[[Tensor], Tensor], stand_in: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.function = _callable(function, "function")
        self.stand_in = None if stand_in is None else _callable(stand_in, "stand_in")
        self._replaced = False

    def forward(self, images: Tensor) -> Tensor:
        """What `function` makes of images [N, ...]."""
        if self._replaced:
            return images if self.stand_in is None else self.stand_in(images)
        with torch.no_grad():
            exact = self.function(images.detach().clone())
        if not isinstance(exact, Tensor):
            raise TypeError(f"function must return a tensor, got {type(exact).__name__}.")
        smooth = images if self.stand_in is None else self.stand_in(images)
        if exact.shape != smooth.shape:
            which = "its input" if self.stand_in is None else "what stand_in returns"
            raise ValueError(
                f"function must return the shape of {which}, {list(smooth.shape)}, got {list(exact.shape)}."
            )
        return straight_through(exact.to(smooth), smooth)


@contextmanager
def stand_ins_in_place(module: nn.Module) -> Iterator[int]:
    """While it is entered, every `BPDA` in a module answers with its stand-in: the model that the gradient is of.

    Args:
        module: the network.

    Yields:
        How many there are.

    >>> net = nn.Sequential(BPDA(torch.round), nn.Flatten())
    >>> with stand_ins_in_place(net) as count:
    ...     print(count, net(torch.tensor([[0.2]])).item() == net(torch.tensor([[0.3]])).item())
    1 False
    """
    found = [part for part in module.modules() if isinstance(part, BPDA)]
    for part in found:
        part._replaced = True
    try:
        yield len(found)
    finally:
        for part in found:
            part._replaced = False


def _callable(value: Callable[[Tensor], Tensor], name: str) -> Callable[[Tensor], Tensor]:
    if not callable(value) or isinstance(value, type):
        raise TypeError(f"{name} must be a function of a tensor, got {value!r}.")
    return value
