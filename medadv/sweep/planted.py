"""Networks with a planted weakness, made from a victim."""

from __future__ import annotations

from torch import Tensor

from medadv.models import Victim
from medadv.sweep.wrapped_victim import WrappedVictim


class PlantedVictim(WrappedVictim):
    """A victim whose answers turn wrong where the margin of its images reaches a threshold of their own, not 0.

    The margin is `medadv.objectives.Margin`, above 0 where an answer is wrong; here it is that of the victim less the
    threshold, for labels that are each there or not as for classes. The network, all that happens to an image before
    it, and its gradients are the victim's own. It must be shown one batch, always whole and in the same order.

    Args:
        victim: the model.
        targets: [M] int64, or [M, K] where the task is "multilabel".
        thresholds: [M].

    >>> import torch
    >>> from torch import nn
    >>> from medadv.objectives import Margin
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval()
    >>> images, targets = torch.rand(2, 1, 2, 2), torch.tensor([0, 2])
    >>> planted = PlantedVictim(Victim(net), targets, torch.tensor([0.5, -1.0]))
    >>> (Margin()(net(images), targets) - Margin()(planted(images), targets)).detach()
    tensor([ 0.5000, -1.0000])
    """

    def __init__(self, victim: Victim, targets: Tensor, thresholds: Tensor) -> None:
        super().__init__(victim)
        self._targets = targets
        self._thresholds = thresholds.unsqueeze(1)

    def __call__(self, images: Tensor) -> Tensor:
        """Logits [M, K] float32 of all images of the batch."""
        logits = self._victim(images)
        if self._targets.ndim == 2:
            return logits + (2 * self._targets - 1) * self._thresholds
        return logits.scatter_add(1, self._targets.unsqueeze(1), self._thresholds)
