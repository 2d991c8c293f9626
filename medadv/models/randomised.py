"""A model that draws random numbers, as a victim that answers the same question in the same way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn

from medadv import _arguments
from medadv.models.features import Features
from medadv.models.task import Task
from medadv.models.victim import Victim


class RandomisedVictim(Victim):
    """A randomised model, judged and attacked by the mean of its logits over a fixed set of draws.

    An image counts as fooled when that mean is wrong (the rule is ours), so no success hangs on a lucky draw;
    `error_rate` tells how often a single draw errs. An attack with a `Search` takes its gradients from other draws,
    fresh in every step, `Gradient(samples=...)` of them: expectation over transformation (Athalye et al., "Synthesizing
    robust adversarial examples", 2018). Every other attack follows the gradient of the mean, over the draws by which it
    is judged: judge its images on others, with ``transfer(attack, victim, victim.redrawn(1), images, targets)``.

    Draw k seeds torch's generator with a number made of `seed` and k, and shows the module every image as a batch of
    one (through `torch.vmap`, or one after the other where the module does not allow it). So all images meet the same
    draws, and the answer to an image depends on no other image; torch's own generator is left as it was. Random numbers
    from elsewhere (NumPy, `random`) are refused by `check`, which shows the first image twice more for that, uncounted.
    Parts that are dropout may be in training mode.

    Args:
        module: the network, in ``eval()`` mode but for dropout, that draws from torch's generator.
        draws: how many are averaged, at least 1; each is one pass, and counts as one in the result of an attack.
        seed: of the draws, 0 to 2^64 - 1.
        task, bounds, mean, std: as for `Victim`.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> class Noisy(nn.Module):
    ...     def forward(self, images):
    ...         return (images + torch.randn_like(images)).flatten(1)
    >>> victim = RandomisedVictim(Noisy().eval(), draws=4)
    >>> images = torch.zeros(3, 1, 1, 2)
    >>> torch.equal(victim(images)[:1], victim(images[:1]))
    True
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        draws: int = 32,
        seed: int = 0,
        task: str | Task = "multiclass",
        bounds: tuple[float, float] = (0.0, 1.0),
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
    ) -> None:
        super().__init__(module, task=task, bounds=bounds, mean=mean, std=std)
        self.draws = _arguments.whole(draws, "draws", at_least=1)
        self.seed = _arguments.whole(seed, "seed", at_least=0, below=2**64)
        self._key: tuple[int | str, ...] = (self.seed,)
        self._one_by_one = False

    @property
    def passes(self) -> int:
        return self.draws

    @property
    def randomised(self) -> bool:
        return True

    def configuration(self) -> dict[str, Any]:
        return {**super().configuration(), "draws": self.draws, "seed": self.seed}

    def redrawn(self, seed: int) -> RandomisedVictim:
        """The same model with other draws.

        Args:
            seed: of the draws.

        Returns:
            A new victim around the same module.
        """
        other = copy(self)
        other.seed = _arguments.whole(seed, "seed", at_least=0, below=2**64)
        other._key = (other.seed,)
        return other

    def fresh(self, *key: int) -> RandomisedVictim:
        other = copy(self)
        # Never one of the draws by which a victim is judged.
        other.draws, other._key = 1, ("fresh", *key)
        return other

    def look(self, images: Tensor, layers: Sequence[str]) -> tuple[Tensor, Features]:
        if layers:
            raise ValueError("layers cannot be looked at in a randomised victim, whose draws differ in them.")
        return self(images), {}

    def error_rate(self, images: Tensor, targets: Tensor) -> Tensor:
        """The share of the draws in which the answer is wrong: how often a model that is used once errs.

        Args:
            images: [N, C, *S] float32, inside the bounds.
            targets: [N] int64, or [N, K] where the task is "multilabel".

        Returns:
            [N] float32, 0 to 1.
        """
        with torch.no_grad():
            wrong = [~self.correct(self.task.logits(self._drawn(images, k)), targets) for k in range(self.draws)]
        return torch.stack(wrong).float().mean(dim=0)

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, draws={self.draws}, seed={self.seed})"

    def _outputs(self, images: Tensor) -> Tensor:
        # Summed one by one, so that the sum does not depend on the number of images.
        total = self._drawn(images, 0).float()
        for number in range(1, self.draws):
            total = total + self._drawn(images, number).float()
        return total / self.draws

    def _drawn(self, images: Tensor, number: int) -> Tensor:
        """What the module returns in one draw."""
        inputs = self._normalise(images).to(self.dtype)
        if not self._one_by_one:
            try:
                with _generator_at((*self._key, number), images.device):
                    return torch.vmap(self._alone, randomness="same")(inputs)
            except RuntimeError:
                # Not every operation can be batched so; a real error comes again below.
                self._one_by_one = True
        rows = []
        for image in inputs:
            with _generator_at((*self._key, number), images.device):
                rows.append(self._alone(image))
        return torch.stack(rows)

    def _alone(self, image: Tensor) -> Tensor:
        return self._answer(image.unsqueeze(0).clone()).squeeze(0)

    def _check_module(self, images: Tensor) -> None:
        super()._check_module(images)
        with torch.no_grad():
            first, again = (self._try(images[:1]) for _ in range(2))
        if not torch.equal(first, again):
            raise ValueError(
                "the model must draw its random numbers from torch's generator, but it answers differently when that "
                "is seeded the same."
            )

    def _may_train(self, part: nn.Module) -> bool:
        return isinstance(part, nn.modules.dropout._DropoutNd)


@contextmanager
def _generator_at(key: tuple[int | str, ...], device: torch.device) -> Iterator[None]:
    """torch's generators of the CPU and of a device, seeded for one draw and put back afterwards."""
    # Of a hash, as keys differ in length and in a few bits, and torch's CPU generator takes 32 bits of its seed.
    seed = int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8], "little")
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
