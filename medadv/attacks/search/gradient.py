"""Which gradient an attack follows: that of the image alone, or an average that other models share."""

from __future__ import annotations

from dataclasses import dataclass

from medadv import _arguments
from medadv.attacks.search.diversity import Diversity
from medadv.models.victim import Victim


@dataclass(frozen=True)
class Gradient:
    """Where the gradient of a step is taken and how it is smoothed; every option can be combined with every other.

    The plain one, `Gradient()`, is the gradient at the image, at the price of one forward and one backward pass per
    step. Each image at which a gradient is taken, other than the attacked image itself, costs one more of both, or one
    more forward where it is taken instead of the gradient at the image. `samples` serves attacks on what is random, the
    other options those that have to fool other models than the one they look at.

    Args:
        nesterov: take it where the running sum of gradients leads (needs momentum): Lin et al., "Nesterov accelerated
            gradient and scale invariance for adversarial attacks" (NI-FGSM, 2020).
        scales: average over this many copies of the image, each half as bright above the lowest image value as the
            one before (SI-FGSM, the same paper).
        diversity: take it at a randomly shrunk and shifted image (DI-FGSM), None: at the image as it is.
        translation: standard deviation in voxels of a Gaussian of three times that radius, zero beyond the border,
            that the gradient is convolved with; 0: none. Dong et al., "Evading defenses to transferable adversarial
            examples by translation-invariant attacks" (TI-FGSM, 2019). Blurs each parameter tensor as an image.
        neighbours: number of random points around the parameters whose mean gradient, less the gradient itself, is
            added in the next step; 0: none. Wang and He, "Enhancing the transferability of adversarial attacks
            through variance tuning" (VMI-FGSM, 2021).
        neighbourhood: how far around, as a multiple of the budget's radius, above 0.
        samples: average over this many draws of what is random, fresh in every step: the numbers of a
            `medadv.models.RandomisedVictim`, the motion of `diversity`. Expectation over transformation: Athalye et
            al., "Synthesizing robust adversarial examples" (2018). A randomised victim is asked for its gradient in
            other draws than those by which it is judged.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> Gradient(scales=5).plain
    False
    """

    nesterov: bool = False
    scales: int = 1
    diversity: Diversity | None = None
    translation: float = 0.0
    neighbours: int = 0
    neighbourhood: float = 1.5
    samples: int = 1

    def __post_init__(self) -> None:
        _arguments.flag(self.nesterov, "nesterov")
        object.__setattr__(self, "scales", _arguments.whole(self.scales, "scales", at_least=1))
        if self.diversity is not None and not isinstance(self.diversity, Diversity):
            raise TypeError(f"diversity must be a Diversity or None, got {self.diversity!r}.")
        object.__setattr__(self, "translation", _arguments.real(self.translation, "translation", at_least=0))
        object.__setattr__(self, "neighbours", _arguments.whole(self.neighbours, "neighbours", at_least=0))
        object.__setattr__(self, "neighbourhood", _arguments.real(self.neighbourhood, "neighbourhood", above=0))
        object.__setattr__(self, "samples", _arguments.whole(self.samples, "samples", at_least=1))

    @property
    def plain(self) -> bool:
        """Whether it is the gradient at the image and nothing else."""
        return self == Gradient(neighbourhood=self.neighbourhood)

    def at_the_image(self, victim: Victim) -> bool:
        """Whether the gradient at the image itself, as the victim is judged, is one of those that are averaged.

        Args:
            victim: the model under attack.

        Raises:
            ValueError: several samples, and nothing that is random.
        """
        if self.samples > 1 and self.diversity is None and not victim.randomised:
            raise ValueError(
                f"samples must be 1 where nothing is random, neither the gradient nor {victim!r}, got {self.samples}."
            )
        return not self.nesterov and self.diversity is None and not victim.randomised
