"""An attack that looks for the smallest change that fools the victim."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from medadv import _arguments
from medadv.attacks.base_attack import BaseAttack, checked_ids
from medadv.attacks.gradients import graphs
from medadv.attacks.minimum_norm.hunt import ANY_IMAGE, Hunt
from medadv.attacks.result import Result
from medadv.attacks.search.clean_pass import CleanPass, clean_pass
from medadv.models.victim import Victim
from medadv.perturbations import Perturbation


@dataclass(frozen=True, kw_only=True, repr=False)
class MinimumNormAttack(BaseAttack):
    """An attack without a budget: it minimises the length of the change that fools the victim.

    In its result, an image that was fooled is the nearest adversarial one that was seen, `distance` is the length of
    its change as a fraction of the image range (a number of entries for "l0", of voxels for a displacement), and `loss`
    is its margin; an image that was not fooled is the clean one at distance 0. `Result.success_within` gives the
    outcome for a budget. Where the victim's task is "multilabel", every finding that could change is a rival class.

    Args:
        steps: number of iterations, at least 1.
    """

    steps: int = 100

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", _arguments.whole(self.steps, "steps", at_least=1))

    @property
    def perturbation(self) -> Perturbation:
        return ANY_IMAGE

    @property
    @abstractmethod
    def measure(self) -> str:
        """What is minimised: "linf", "l2", "l1" or "l0" of noise, or the "displacement" of a flow."""

    def _needed(self, clean_logits: Tensor) -> Tensor:
        """The margin [N] of an adversarial image: 0, the victim's answer alone decides."""
        return clean_logits.new_zeros(len(clean_logits))

    def _run(self, victim: Victim, images: Tensor, targets: Tensor, ids: Tensor, clean_logits: Tensor) -> Result:
        return self._hunt(victim, images, targets, ids, clean_logits)

    def _hunt(self, victim: Victim, images: Tensor, targets: Tensor, ids: Tensor, clean: CleanPass | Tensor) -> Result:
        logits = clean.logits if isinstance(clean, CleanPass) else clean
        with graphs():
            hunt = Hunt(victim, images, targets, ids, clean, self._needed(logits.detach()), self.measure)
            if len(hunt.rows):
                self._chase(hunt)
            return hunt.result()

    @abstractmethod
    def _chase(self, hunt: Hunt) -> None:
        """Show images to the victim until the steps are used up; there is at least one row to attack.

        Gradients are taken of no more images at a time than the victim is shown at once, see `Hunt.packs`.
        """


@dataclass(frozen=True, kw_only=True, repr=False)
class MinimumNormGradientAttack(MinimumNormAttack):
    """A minimum-norm attack that sees logits and gradients, and so can ask for a margin.

    Its first gradients are those at the clean images, from the pass that checks them where all are shown at once.

    Args:
        steps: number of iterations, at least 1.
        kappa: margin of an adversarial image, at least 0: a wrong logit must exceed the right one by kappa times the
            largest size of the clean logits (by kappa where all are below 1), so that a find does not sit in float
            noise. For a model in half precision, 0.01 is above its noise.
    """

    sees_detectors: ClassVar[bool] = False

    kappa: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "kappa", _arguments.real(self.kappa, "kappa", at_least=0))

    def _needed(self, clean_logits: Tensor) -> Tensor:
        return self.kappa * clean_logits.abs().amax(dim=1).clamp_min(1)

    def __call__(self, victim: Victim, images: Tensor, targets: Tensor, ids: Tensor | None = None) -> Result:
        self.check_victim(victim)
        clean = clean_pass(self.perturbation, victim, images, targets, layers=())
        if clean is None:
            return super().__call__(victim, images, targets, ids)
        result = self._hunt(victim, images, targets, checked_ids(ids, images), clean)
        result.forwards.add_(victim.passes)
        return result
