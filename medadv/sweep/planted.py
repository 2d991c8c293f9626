"""Networks with a planted weakness, made from a victim."""

from __future__ import annotations

import torch
from torch import Tensor

from medadv.models import Victim
from medadv.sweep.wrapped_victim import WrappedVictim


class PlantedVictim(WrappedVictim):
    """A victim whose answers turn wrong where the margin of its images reaches a threshold of their own, not 0.

    The margin is `medadv.objectives.Margin`, above 0 where an answer is wrong; here it is that of the victim less the
    threshold, for labels that are each there or not as for classes. A detector, too, rejects above thresholds of the
    images' own. The network, all that happens to an image before it, and its gradients are the victim's own. It must be
    shown one batch, always whole and in the same order.

    Args:
        victim: the model.
        targets: [M] int64, or [M, K] where the task is "multilabel".
        thresholds: [M], of the margin.
        alarms: [M], of the excess of a guarded victim's detector, the last of its logits; None without a detector.

    >>> from torch import nn
    >>> from medadv.objectives import Margin
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval()
    >>> images, targets = torch.rand(2, 1, 2, 2), torch.tensor([0, 2])
    >>> planted = PlantedVictim(Victim(net), targets, torch.tensor([0.5, -1.0]))
    >>> (Margin()(net(images), targets) - Margin()(planted(images), targets)).detach()
    tensor([ 0.5000, -1.0000])
    """

    def __init__(self, victim: Victim, targets: Tensor, thresholds: Tensor, alarms: Tensor | None = None) -> None:
        super().__init__(victim)
        self._targets = targets
        self._thresholds = thresholds.unsqueeze(1)
        self._alarms = None if alarms is None else alarms.unsqueeze(1)

    def __call__(self, images: Tensor) -> Tensor:
        """Logits [M, K] float32 of all images of the batch, [M, K + 1] with a detector."""
        logits = self._victim(images)
        if self._alarms is None:
            return self._moved(logits)
        return torch.cat([self._moved(logits[:, :-1]), logits[:, -1:] - self._alarms], dim=1)

    def _moved(self, classes: Tensor) -> Tensor:
        if self._targets.ndim == 2:
            return classes + (2 * self._targets - 1) * self._thresholds
        return classes.scatter_add(1, self._targets.unsqueeze(1), self._thresholds)


class DetectorAlone(WrappedVictim):
    """The detector of a guarded victim beside a classifier that is always wrong; it lets nothing pass.

    All that is left to an attack is to make images less suspicious, and a search for that goes on to its end. The right
    class of all images is 0, and no finding is there.

    Args:
        victim: the guarded one.
        answer: [K], the logits of the classes for every image, wrong for such targets.

    >>> DetectorAlone.wrong_answer(torch.tensor([3, 1]), 3), DetectorAlone.wrong_answer(torch.zeros(2, 1), 1)
    (tensor([-1.,  1.,  1.]), tensor([1.]))
    """

    def __init__(self, victim: Victim, answer: Tensor) -> None:
        super().__init__(victim)
        self._answer_to_all = answer

    @staticmethod
    def wrong_answer(targets: Tensor, classes: int) -> Tensor:
        """Logits that are wrong where the targets, of the same shape as these, are all 0.

        Args:
            targets: [M] int64, or [M, K].
            classes: K.

        Returns:
            [K].
        """
        answer = torch.ones(classes, device=targets.device)
        if targets.ndim == 1:
            answer[0] = -1.0
        return answer

    def __call__(self, images: Tensor) -> Tensor:
        """Logits [M, K + 1] float32."""
        excess = self._victim(images)[:, -1:]
        return torch.cat([self._answer_to_all.expand(len(images), -1), excess], dim=1)

    def verdict(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        answers, _ = super().verdict(logits, targets)
        return answers, torch.ones(len(logits), dtype=torch.bool, device=logits.device)
