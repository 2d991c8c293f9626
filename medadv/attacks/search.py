"""The search: raise the objective by gradient steps inside the budget."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medadv import _arguments
from medadv.attacks.ascent import RULES, Ascent
from medadv.attacks.randomness import Draw
from medadv.attacks.record import Record
from medadv.attacks.result import Result
from medadv.models.victim import Victim
from medadv.objectives import Objective
from medadv.perturbations import Parameters, Perturbation


@dataclass(frozen=True)
class Search:
    """How an attack searches.

    Args:
        steps: gradient steps per restart, at least 1.
        rule: "sign", "l2" or "adam", see `medadv.attacks.ascent.Ascent`.
        step_size: length of a step as a fraction of the budget's radius, above 0; None: 2.5 / steps, at most 1
            (2.5 / steps: Madry et al., "Towards deep learning models resistant to adversarial attacks", 2018).
        momentum: decay of the sum of gradients, at least 0; 0 for rule "adam".
        restarts: how many searches are made for an image that withstands, at least 1.
        random_start: start at random inside the budget, or at the clean image (then one restart only).
        stop_early: images that fooled the victim leave the batch; else the search goes on for the highest objective.
        seed: of the random starts, 0 to 2^64 - 1.

    Raises:
        TypeError, ValueError: an argument is not what it must be.

    >>> Search(steps=10).step_length
    0.25
    """

    steps: int
    rule: str = "sign"
    step_size: float | None = None
    momentum: float = 0.0
    restarts: int = 1
    random_start: bool = True
    stop_early: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", _arguments.whole(self.steps, "steps", at_least=1))
        _arguments.choice(self.rule, "rule", RULES)
        if self.step_size is not None:
            object.__setattr__(self, "step_size", _arguments.real(self.step_size, "step_size", above=0))
        object.__setattr__(self, "momentum", _arguments.real(self.momentum, "momentum", at_least=0))
        object.__setattr__(self, "restarts", _arguments.whole(self.restarts, "restarts", at_least=1))
        _arguments.flag(self.random_start, "random_start")
        _arguments.flag(self.stop_early, "stop_early")
        object.__setattr__(self, "seed", _arguments.whole(self.seed, "seed", at_least=0, below=2**64))
        if self.restarts > 1 and not self.random_start:
            raise ValueError(f"restarts must be 1 without random_start, as all would be the same, got {self.restarts}.")
        if self.momentum > 0 and self.rule == "adam":
            raise ValueError(f'momentum must be 0 for rule "adam", which has its own, got {self.momentum}.')

    @property
    def step_length(self) -> float:
        """The length of a step as a fraction of the budget's radius."""
        return min(2.5 / self.steps, 1.0) if self.step_size is None else self.step_size


def maximise(
    search: Search,
    perturbation: Perturbation,
    objective: Objective,
    victim: Victim,
    images: Tensor,
    targets: Tensor,
    ids: Tensor,
    clean_logits: Tensor | None = None,
) -> Result:
    """Raise objective - penalty for each image, inside the budget of the perturbation.

    Gradients go to the parameters of the perturbation alone. Images that the victim gets wrong already are left out.

    Args:
        search: how.
        perturbation: what may change, and how much.
        objective: what is raised.
        victim: the model; its images and targets must have passed `Victim.check`.
        images: [N, C, *S] float32.
        targets: [N] int64.
        ids: [N] int64, the numbers of the examples for the random starts.
        clean_logits: [N, K], the victim's logits of `images` where they are known; else one more forward pass.

    Returns:
        One row per image.

    Raises:
        ValueError: the objective or its gradient is not finite, or the model gives no gradient to its input.

    >>> from medadv.objectives import Margin
    >>> from medadv.perturbations import Additive
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2)).eval()
    >>> images = torch.rand(3, 1, 2, 2)
    >>> targets = net(images).argmax(1)
    >>> maximise(Search(steps=3), Additive(1.0), Margin(), Victim(net), images, targets, torch.arange(3)).success.shape
    torch.Size([3])
    """
    with torch.inference_mode(False), torch.enable_grad():
        images = images.detach()
        identity = perturbation.identity(images)
        known = clean_logits is not None
        with torch.no_grad():
            logits = victim(images) if clean_logits is None else clean_logits.detach()
            loss = objective(logits, targets) - perturbation.penalty(images, identity)
        wrong = ~victim.correct(logits, targets)
        record = Record(images, identity, loss, victim.task.predict(logits), wrong, forwards=0 if known else 1)
        climb = _Climb(search, perturbation, objective, victim, images, targets, ids, record)
        rows = (~wrong).nonzero().flatten()
        for restart in range(search.restarts):
            if len(rows) == 0:
                break
            climb.run(restart, rows)
            if search.stop_early:
                rows = rows[~record.fooled[rows]]
        return record.result(perturbation.distance(images, record.parameters, victim.bounds))


@dataclass(frozen=True)
class _Climb:
    """One restart after the other on the rows of a batch that still withstand."""

    search: Search
    perturbation: Perturbation
    objective: Objective
    victim: Victim
    images: Tensor
    targets: Tensor
    ids: Tensor
    record: Record

    def run(self, restart: int, rows: Tensor) -> None:
        search, bounds = self.search, self.victim.bounds
        images = self.images[rows]
        parameters = self._start(restart, rows, images)
        lengths = {name: search.step_length * radius for name, radius in self.perturbation.radii(bounds).items()}
        ascent = Ascent(search.rule, lengths, search.momentum)
        for step in range(search.steps):
            parameters = {name: values.detach().requires_grad_() for name, values in parameters.items()}
            value, wrong = self._look(step, rows, images, parameters)
            going = ~wrong if search.stop_early else torch.ones_like(wrong)
            if not bool(going.any()):
                return
            gradients = self._gradients(step, rows, value, going, parameters)
            if not bool(going.all()):
                rows, images = rows[going], images[going]
                parameters = {name: values[going] for name, values in parameters.items()}
                gradients = {name: values[going] for name, values in gradients.items()}
                ascent.keep(going)
            parameters = {name: values.detach() for name, values in parameters.items()}
            parameters = self.perturbation.project(images, ascent.move(parameters, gradients), bounds)
        with torch.no_grad():
            self._look(search.steps, rows, images, parameters)

    def _start(self, restart: int, rows: Tensor, images: Tensor) -> Parameters:
        if not self.search.random_start:
            return self.perturbation.identity(images)
        draw = Draw(self.search.seed, self.ids[rows], restart)
        return self.perturbation.random(images, draw, self.victim.bounds)

    def _look(self, step: int, rows: Tensor, images: Tensor, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Show the images to the victim and write down what it says: the value that is raised, and who is fooled."""
        changed = self.perturbation.apply(images, parameters, self.victim.bounds)
        logits = self.victim(changed)
        targets = self.targets[rows]
        value = self.objective(logits, targets) - self.perturbation.penalty(images, parameters)
        self._refuse_not_finite("the objective", value, step, rows)
        wrong = ~self.victim.correct(logits.detach(), targets)
        predictions = self.victim.task.predict(logits.detach())
        self.record.see(rows, step, changed, parameters, value, predictions, wrong)
        return value, wrong

    def _gradients(
        self, step: int, rows: Tensor, value: Tensor, going: Tensor, parameters: Parameters
    ) -> dict[str, Tensor]:
        if not value.requires_grad:
            raise ValueError(_NO_GRADIENT)
        # Rows that are done weigh nothing, so that no gradient is taken for them.
        gradients = torch.autograd.grad(value[going].sum(), list(parameters.values()), allow_unused=True)
        found: dict[str, Tensor] = {}
        for name, gradient in zip(parameters, gradients, strict=True):
            if gradient is None:
                raise ValueError(_NO_GRADIENT)
            self._refuse_not_finite("the gradient", gradient.flatten(1).abs().amax(dim=1), step, rows)
            found[name] = gradient
        self.record.backwards[rows[going]] += 1
        return found

    def _refuse_not_finite(self, what: str, values: Tensor, step: int, rows: Tensor) -> None:
        bad = ~torch.isfinite(values.detach())
        if bool(bad.any()):
            example = int(self.ids[rows[bad][0]])
            raise ValueError(f"{what} must be finite, got NaN or infinity for example {example} at step {step}.")


_NO_GRADIENT = (
    "the model must give a gradient to its input, but its logits do not depend on the images in a way that autograd "
    "can follow (detach, no_grad, or a step such as argmax)."
)
