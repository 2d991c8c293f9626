"""The best parameters seen for each example."""

from __future__ import annotations

import torch
from torch import Tensor

from medadv.perturbations import Parameters


class Best:
    """For each example, the parameters with the highest value of those seen; the first of equals.

    Attributes:
        parameters: tensors [N, ...], empty until something is seen.
        values: [N].

    >>> best = Best()
    >>> best.see({"noise": torch.tensor([[1.0], [1.0]])}, torch.tensor([0.5, 0.5]))
    >>> best.see({"noise": torch.tensor([[2.0], [2.0]])}, torch.tensor([0.0, 1.0]))
    >>> best.parameters["noise"].flatten()
    tensor([1., 2.])
    """

    def __init__(self) -> None:
        self.parameters: Parameters = {}
        self.values = torch.empty(0)

    def see(self, parameters: Parameters, values: Tensor) -> None:
        """Take note of one point for every example.

        Args:
            parameters: tensors [N, ...] float32.
            values: [N].
        """
        if not self.parameters:
            self.parameters, self.values = dict(parameters), values
            return
        better = values > self.values
        self.parameters = chosen(better, parameters, self.parameters)
        self.values = torch.where(better, values, self.values)

    def keep(self, rows: Tensor) -> None:
        """Forget all rows but these.

        Args:
            rows: bool [N].
        """
        self.parameters = {name: values[rows] for name, values in self.parameters.items()}
        self.values = self.values[rows]


def chosen(rows: Tensor, first: Parameters, second: Parameters) -> Parameters:
    """Of each tensor, these rows of the first and the others of the second.

    Args:
        rows: bool [N].
        first, second: tensors [N, ...] of the same names and shapes.

    Returns:
        The same names and shapes.

    >>> chosen(torch.tensor([True, False]), {"noise": torch.ones(2)}, {"noise": torch.zeros(2)})
    {'noise': tensor([1., 0.])}
    """
    return {name: torch.where(like(rows, values), values, second[name]) for name, values in first.items()}


def like(rows: Tensor, values: Tensor) -> Tensor:
    """One number per example, shaped to be combined with its parameters.

    Args:
        rows: [N].
        values: [N, ...].

    Returns:
        [N, 1, ...], as many axes as `values`.

    >>> like(torch.ones(2), torch.ones(2, 3, 4)).shape
    torch.Size([2, 1, 1])
    """
    return rows.reshape(-1, *[1] * (values.ndim - 1))
