"""An attack run once: what it asked of the network, and what its images really do."""

from __future__ import annotations

import gc
import time

import torch
from torch import Tensor, nn

from benchmarks.attack_cases import ORDERS, Attack


class Counting(nn.Module):
    """Counts the images shown, and the images for which a gradient is taken."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.shown = self.differentiated = 0

    def forward(self, images: Tensor) -> Tensor:
        self.shown += len(images)
        logits = self.module(images)
        if logits.requires_grad:
            logits.register_hook(self._count)
        return logits

    def _count(self, gradient: Tensor) -> None:
        self.differentiated += len(gradient)


def attacked(attack: Attack, norm: str, network: nn.Module, images: Tensor, targets: Tensor) -> dict:
    """What an attack returns, measured by us; the distance of an image that is still right is infinite."""
    counting = Counting(network).eval()
    torch.manual_seed(0)
    gc.collect(0)  # else a turn pays for the garbage of the one before
    start = time.process_time()
    changed = attack(counting, images.clone(), targets.clone()).detach().float()
    seconds = time.process_time() - start
    shown, differentiated = counting.shown, counting.differentiated
    with torch.no_grad():
        wrong = counting(changed).argmax(1) != targets  # through the wrapper, as within an attack that tells
    seconds_of_verdict = time.process_time() - start - seconds
    inside = bool(((changed >= 0) & (changed <= 1)).all())
    change = (changed.double() - images.double()).flatten(1)
    distances = torch.where(wrong, torch.linalg.vector_norm(change, ORDERS[norm], dim=1), torch.inf)
    return {
        "success": float(wrong.double().mean()),
        "inside_bounds": inside,
        "forwards": shown / len(images),
        "backwards": differentiated / len(images),
        "seconds": seconds,
        "seconds_of_verdict": seconds_of_verdict,
        "distances": distances,
    }
