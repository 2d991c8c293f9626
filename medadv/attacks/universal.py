"""Universal perturbations: one change that fools a victim on most images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from medadv import _arguments
from medadv.attacks.base_attack import checked_ids, require_victim
from medadv.attacks.gradients import NO_GRADIENT, graphs, refuse_not_finite
from medadv.attacks.minimum_norm.schedule import cosine
from medadv.attacks.outcome import outcome
from medadv.attacks.randomness import Draw
from medadv.attacks.search.ascent import direction
from medadv.attacks.universal_change import UniversalChange, shared
from medadv.models.victim import Victim
from medadv.objectives import CrossEntropy, Objective
from medadv.objectives.objective import Situation, goals_of, value_at
from medadv.perturbations import Additive, Chain, FrequencyQuantisation, Parameters, Perturbation

RULES = ("sign", "l2", "l1")

_LAST_STEP = 0.1  # of the first one
_TOGETHER = 64  # images that are shown at once between epochs


@dataclass(frozen=True)
class Universal:
    """One change for all images, by projected gradient steps on the mean objective of some of a training set at a time.

    Shafahi et al., "Universal adversarial training" (2020): sign steps on batches. That is the default: it fools more
    than the method of Moosavi-Dezfooli et al., "Universal adversarial perturbations" (2017). Theirs goes from image to
    image and, where the change so far does not fool the victim, adds one that does. With a step of FGSM there, as in
    Hirano et al., "Universal adversarial attacks on deep neural networks for medical image classification" (2021), it
    is ``Universal(noise, epochs=15, together=1, skip_fooled=True)``, with noise of 4 % of the images' mean length.
    Ours: steps get shorter along a cosine, any perturbation that can be shared will do, and of the changes at the ends
    of the epochs the one is kept that fools most training images. It starts with no change.

    The images of a step are drawn by their ids, and the result is the same in whatever order they come. `together` is
    part of the method, and does change the result.

    Args:
        perturbation: what may change, and how much; its parameters are shared by all images. Not a
            `FrequencyQuantisation`, which has no slope where nothing is changed, nor a `Chain` with such or with noise.
        objective: what is raised; with `medadv.objectives.Targeted` every image is led to one class.
        epochs: how often every training image is looked at, at least 1.
        together: images per step, at least 1.
        skip_fooled: follow the images alone that are still right.
        step_size: length of the first step as a fraction of the budget's radius, above 0; the last is a tenth.
        rule: "sign", "l2" or "l1", see `medadv.attacks.search.ascent.Ascent`; None: the norm of noise, else "sign".
        seed: of the order, 0 to 2^64 - 1.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2)).eval()
    >>> images = torch.rand(40, 1, 4, 4)
    >>> mean_length = float(images.flatten(1).norm(dim=1).mean())
    >>> universal = Universal(Additive(0.04 * mean_length, "l2"), epochs=2)
    >>> change = universal.fit(Victim(net), images[:20], net(images[:20]).argmax(1))
    >>> bool((change(Victim(net), images[20:], net(images[20:]).argmax(1)).distance <= 0.04 * mean_length).all())
    True
    """

    perturbation: Perturbation = field(default_factory=lambda: Additive(8 / 255))
    objective: Objective = field(default_factory=CrossEntropy)
    epochs: int = field(default=10, kw_only=True)
    together: int = field(default=32, kw_only=True)
    skip_fooled: bool = field(default=False, kw_only=True)
    step_size: float = field(default=0.25, kw_only=True)
    rule: str | None = field(default=None, kw_only=True)
    seed: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        if isinstance(self.perturbation, type) or not isinstance(self.perturbation, Perturbation):
            raise TypeError(f"perturbation must be one such as Additive(0.1), got {self.perturbation!r}.")
        if not _can_be_shared(self.perturbation):
            raise TypeError(
                "perturbation must not be a FrequencyQuantisation, nor a Chain with such or with noise in it, "
                f"got {self.perturbation!r}."
            )
        if isinstance(self.objective, type) or not callable(self.objective):
            raise TypeError(f"objective must be an objective such as CrossEntropy(), got {self.objective!r}.")
        object.__setattr__(self, "epochs", _arguments.whole(self.epochs, "epochs", at_least=1))
        object.__setattr__(self, "together", _arguments.whole(self.together, "together", at_least=1))
        _arguments.flag(self.skip_fooled, "skip_fooled")
        object.__setattr__(self, "step_size", _arguments.real(self.step_size, "step_size", above=0))
        if self.rule is not None:
            _arguments.choice(self.rule, "rule", RULES)
        object.__setattr__(self, "seed", _arguments.whole(self.seed, "seed", at_least=0, below=2**64))

    def fit(self, victim: Victim, images: Tensor, targets: Tensor, ids: Tensor | None = None) -> UniversalChange:
        """Find the change; the victim is left as it was.

        Args:
            victim: the model under attack.
            images: [N, C, H, W] or [N, C, D, H, W] float32, the training set, inside the victim's bounds.
            targets: [N] int64, the right classes; [N, K] of 0 and 1 where the victim's task is "multilabel". Images
                that the victim gets wrong take no part.
            ids: [N] int64, numbers of the examples, each its own; default 0 to N - 1.

        Returns:
            The change.

        Raises:
            TypeError, ValueError: what `Victim.check` refuses; ids of another type or shape, or one twice; a gradient
                or objective that is not finite; a model that gives no gradient to its input.
        """
        require_victim(victim)
        logits = victim.clean_logits(images, targets)
        ids = checked_ids(ids, images)
        if len(ids.unique()) < len(ids):
            raise ValueError("ids must be each example's own, got one twice.")
        with graphs():
            # In the order of their ids, so that sums do not depend on the order in which they came.
            order = ids.argsort()
            fit = _Fit(self, victim, images[order].detach(), targets[order], ids[order], logits[order])
            parameters, success = fit.run()
        place = order.argsort()
        return UniversalChange(
            perturbation=self.perturbation,
            parameters=parameters,
            bounds=victim.bounds,
            objective=self.objective,
            success=success,
            forwards=fit.forwards[place],
            backwards=fit.backwards[place],
        )

    @property
    def direction(self) -> str:
        """The rule of the steps."""
        if self.rule is not None:
            return self.rule
        norm = self.perturbation.norm if isinstance(self.perturbation, Additive) else "linf"
        return {"linf": "sign"}.get(norm, norm)


def _can_be_shared(perturbation: Perturbation) -> bool:
    if isinstance(perturbation, Chain):
        # A part of noise is moved into the bounds of each image.
        return not any(isinstance(part, Additive | FrequencyQuantisation) for part in perturbation.parts)
    return not isinstance(perturbation, FrequencyQuantisation)


class _Fit:
    """The loop of `Universal.fit`, over images in the order of their ids."""

    def __init__(
        self, method: Universal, victim: Victim, images: Tensor, targets: Tensor, ids: Tensor, logits: Tensor
    ) -> None:
        self.method = method
        self.victim = victim
        self.images = images
        self.targets = targets
        self.ids = ids
        self.logits = logits
        self.goals = goals_of(method.objective, logits, targets)
        self.rows = victim.correct(logits, targets).nonzero().flatten()
        self.forwards = torch.full_like(ids, victim.passes)
        self.backwards = torch.zeros_like(ids)

    def run(self) -> tuple[Parameters, float]:
        """The parameters [1, ...] each, and the share of the images that they fool."""
        method = self.method
        parameters = method.perturbation.identity(self.images[:1])
        best, fooled, height = parameters, 0, self._clean_objective(parameters)
        steps = max(method.epochs * -(-len(self.rows) // method.together), 1)
        step = 0
        for epoch in range(method.epochs if len(self.rows) else 0):
            for rows in self._drawn(epoch):
                length = method.step_size * cosine(1.0, _LAST_STEP, step, steps)
                parameters = self._moved(parameters, rows, step, length)
                step += 1
            found, value = self._standing(parameters, step)
            if (found, value) > (fooled, height):
                best, fooled, height = parameters, found, value
            if fooled == len(self.rows):
                break
        return best, fooled / max(len(self.rows), 1)

    def _drawn(self, epoch: int) -> Iterator[Tensor]:
        """The images of the steps of an epoch, in an order that hangs on their ids alone."""
        numbers = Draw(self.method.seed, self.ids[self.rows], epoch).uniform((1,)).flatten()
        return iter(self.rows[numbers.argsort(stable=True)].split(self.method.together))

    def _moved(self, parameters: Parameters, rows: Tensor, step: int, length: float) -> Parameters:
        """One step uphill, along the mean gradient of the images."""
        leaves = {name: values.clone().requires_grad_() for name, values in shared(parameters, len(rows)).items()}
        value, fooled = self._look(leaves, rows, step)
        going = ~fooled if self.method.skip_fooled else torch.ones_like(fooled)
        if not bool(going.any()):
            return parameters
        gradients = self._gradients(value[going].sum(), leaves, rows, step)
        self.backwards[rows[going]] += self.victim.passes
        radii = self.method.perturbation.radii(self.victim.bounds)
        ahead = {
            name: values + length * radii[name] * direction(self.method.direction, gradients[name])
            for name, values in parameters.items()
        }
        return self._projected(ahead)

    def _clean_objective(self, identity: Parameters) -> float:
        """The mean objective where nothing is changed."""
        rows = self.rows
        if len(rows) == 0:
            return 0.0
        penalty = self.method.perturbation.penalty(self.images[rows], shared(identity, len(rows)))
        return float((self.method.objective(self.logits[rows], self.targets[rows]) - penalty).mean(dtype=torch.float64))

    def _standing(self, parameters: Parameters, step: int) -> tuple[int, float]:
        """How many images the change fools, and the mean objective."""
        fooled, total = 0, 0.0
        with torch.no_grad():
            for rows in self.rows.split(_TOGETHER):
                value, wrong = self._look(shared(parameters, len(rows)), rows, step)
                fooled += int(wrong.sum())
                total += float(value.sum(dtype=torch.float64))
        return fooled, total / len(self.rows)

    def _look(self, parameters: Parameters, rows: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Show changed images to the victim: the objective [M], and which fool it."""
        method, victim = self.method, self.victim
        changed = method.perturbation.apply(self.images[rows], parameters, victim.bounds)
        logits = victim(changed)
        self.forwards[rows] += self.victim.passes
        situation = Situation(
            clean=self.images[rows],
            images=changed.detach(),
            before=None,
            clean_logits=self.logits[rows],
            restart=0,
            ask=lambda images: self._ask(images, rows),
        )
        value = value_at(method.objective, logits, self.targets[rows], situation)
        value = value - method.perturbation.penalty(self.images[rows], parameters)
        refuse_not_finite("the objective", value.unsqueeze(1), step, self.ids[rows])
        goals = None if self.goals is None else self.goals[rows]
        return value, outcome(victim, logits.detach(), self.targets[rows], goals)[1]

    def _ask(self, images: Tensor, rows: Tensor) -> Tensor:
        self.forwards[rows] += self.victim.passes
        with torch.no_grad():
            return self.victim(images.clamp(*self.victim.bounds))

    def _gradients(self, value: Tensor, leaves: Parameters, rows: Tensor, step: int) -> Parameters:
        """The gradient of a sum of objectives to the shared parameters, [1, ...] each."""
        if not value.requires_grad:
            raise ValueError(NO_GRADIENT)
        found = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
        gradients = {}
        for name, gradient in zip(leaves, found, strict=True):
            if gradient is None:
                raise ValueError(NO_GRADIENT)
            refuse_not_finite("the gradient", gradient, step, self.ids[rows])
            gradients[name] = gradient.sum(dim=0, keepdim=True, dtype=torch.float64).float()
        return gradients

    def _projected(self, parameters: Parameters) -> Parameters:
        perturbation, bounds = self.method.perturbation, self.victim.bounds
        if isinstance(perturbation, Additive):
            return {"noise": perturbation.into_ball(parameters["noise"], bounds)}
        return perturbation.project(self.images[:1], parameters, bounds)
