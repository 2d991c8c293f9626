"""Trust check C18: the indicators of attack failure that the way of an attack shows.

Pintor et al., "Indicators of attack failure: debugging and improving optimization of adversarial examples" (2022), and
those of its first version (2021). Looked at in the images that withstand, at the margin rather than at the loss, whose
size says little where a model is sure; of a model with a detector (ours) at the margin of the classes until an answer
is wrong, and at the detector's score where it is. Of attacks that are made on another model: whether what fools that
model fools this one. Not here: that an attack without limit fails, which is C15.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from medadv.attacks import Draw
from medadv.objectives import Margin
from medadv.sweep.sample import TOLERANCE, Finding, Probe, Sample, joined, judged
from medadv.sweep.search_trace import Trace, trace
from medadv.sweep.transfer import Transfer

_WITHOUT_GRADIENT = 0.1  # of the gradients of an image
_FEWEST_STEPS = 4  # that show whether an attack has come to an end
_STRAIGHT = math.radians(170)
_NEAR = 0.01  # of the budget
_DRAWS = 4
_UNSTABLE = 0.1  # of the margin of the clean image
# Beyond the restarts of any attack, so that no draw is one of its random starts.
_DRAW_NUMBER = 2**35


def failure_indicators(
    probes: Sequence[Probe], sample: Sample, transfers: Sequence[Transfer] = (), on_others_alone: bool = False
) -> Finding:
    """C18: an attack must not fail in silence.

    Args:
        probes: the attacks, tried on the sample.
        sample: the images.
        transfers: what became of the attacks that were made on another model.
        on_others_alone: whether all attacks of the evaluation are: then nothing else shows what they could not bring
            over. Beside attacks on the model itself it is told and decides nothing.

    Returns:
        Passed where each indicator is raised by at most 5 % of the sample.
    """
    parts = []
    passed = True
    for each in probes:
        rows = each.survivors
        if len(rows) == 0:
            parts.append(f"{each}: no image withstands")
            continue
        way = trace(each.attack, sample, rows)
        counts = {
            "were wrong on the way though the attack calls them right": silent_success(way),
            "had no gradient in a tenth of the steps or more": zero_gradients(way),
            "ended further from a wrong answer than they began": falling_margin(way),
            "still came nearer as fast as ever at the last step": still_rising(way),
            f"move by a tenth of their {_answer(sample)} in a hundredth of the budget": unstable(each, sample, rows),
        }
        told = ", ".join(f"{int(raised.sum())} {what}" for what, raised in counts.items())
        passed = passed and all(int(raised.sum()) <= TOLERANCE * len(sample) for raised in counts.values())
        parts.append(f"{each}: of the {len(rows)} images that withstand, {told}")
    for made in transfers:
        passed = passed and not (on_others_alone and made.lost > TOLERANCE * len(sample))
        parts.append(str(made))
    without = "" if transfers else " No surrogate was named, so that it was not asked whether attacks transfer."
    return judged(passed, joined(parts) + without)


def _answer(sample: Sample) -> str:
    return "margin, or of their detector's score," if sample.victim.guarded else "margin"


def silent_success(way: Trace) -> Tensor:
    """Images that were fooled on the way, though the attack says that they withstood.

    Args:
        way: of the attack.

    Returns:
        bool [M].
    """
    return (way.margins > 0).any(dim=0) & ~way.result.success


def zero_gradients(way: Trace) -> Tensor:
    """Images whose gradient was zero at more than a tenth of the steps.

    Args:
        way: of the attack.

    Returns:
        bool [M].
    """
    return (way.gradients == 0).double().mean(dim=0) > _WITHOUT_GRADIENT


def falling_margin(way: Trace) -> Tensor:
    """Images that were further from a wrong answer after the last step than before the first.

    Or, of a guarded victim, more suspicious at the last step where the answer was wrong than at the first.

    Args:
        way: of the attack.

    Returns:
        bool [M].
    """
    return _any([stage[-1] < stage[0] for stage in way.stages])


def still_rising(way: Trace) -> Tensor:
    """Images whose best margin rose to the last step without a break: the attack was not done.

    The best margin so far and the steps are scaled to 0 to 1, and the angle is measured at the point of the curve
    furthest above the line between its ends: about 90 degrees where an attack rises and then stays, 180 where it rises
    evenly or ever faster. An attack of fewer than 4 steps shows nothing.

    Args:
        way: of the attack.

    Returns:
        bool [M]; true above 170 degrees.
    """
    if len(way.margins) - 1 < _FEWEST_STEPS:
        return torch.zeros_like(way.margins[0], dtype=torch.bool)
    return _any([_rises_to_the_end(stage) for stage in way.stages])


def _rises_to_the_end(stage: Tensor) -> Tensor:
    best = stage.double().cummax(dim=0).values
    risen = best[-1] > best[0]
    heights = (best - best[0]) / torch.where(risen, best[-1] - best[0], torch.ones_like(best[0]))
    return risen & (break_point_angle(heights) > _STRAIGHT)


def _any(raised: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(raised)).any(dim=0)


def break_point_angle(heights: Tensor) -> Tensor:
    """Angle at the point of a curve from (0, 0) to (1, 1) that is furthest above the line between them.

    Args:
        heights: [P, M], of evenly spaced points, P >= 3.

    Returns:
        [M] in radians; pi where no point is above the line.

    >>> corner, line = torch.tensor([0.0, 1.0, 1.0]), torch.tensor([0.0, 0.5, 1.0])
    >>> torch.rad2deg(break_point_angle(torch.stack([corner, line], dim=1))).round()
    tensor([117., 180.])
    """
    places = torch.linspace(0, 1, len(heights), dtype=heights.dtype, device=heights.device).unsqueeze(1)
    places, heights = places[1:-1], heights[1:-1]  # both ends are on the line, but for rounding
    above, furthest = (heights - places).max(dim=0)
    x, y = places[furthest, 0], heights.gather(0, furthest.unsqueeze(0))[0]
    angle = math.pi - torch.atan2(y, x) + torch.atan2(1 - y, 1 - x)
    return torch.where(above > 0, angle, math.pi)


def unstable(each: Probe, sample: Sample, rows: Tensor) -> Tensor:
    """Images whose margin moves by a tenth on average when they change at random by a hundredth of the budget.

    Or, of a guarded victim, the detector's excess by a tenth of it or of its unit, whichever is more.

    Args:
        each: the attack, whose kind of change is tried.
        sample: the images.
        rows: int64 [M], those to be tried.

    Returns:
        bool [M].
    """
    part, bounds = sample.part(rows), sample.victim.bounds
    near = each.attack.perturbation.scaled(_NEAR)
    answers = []
    for number in range(_DRAWS):
        draw = Draw(sample.seed, part.ids, _DRAW_NUMBER + number)
        with torch.no_grad():
            images = near.apply(part.images, near.random(part.images, draw, bounds), bounds)
            answers.append(sample.victim(images))
    guarded = sample.victim.guarded

    def margin(logits: Tensor) -> Tensor:
        return Margin()(logits[:, :-1] if guarded else logits, part.targets)

    def moves(value: Callable[[Tensor], Tensor], least: float) -> Tensor:
        before = value(part.logits)
        moved = torch.stack([(value(logits) - before).abs() for logits in answers]).mean(dim=0)
        return moved > _UNSTABLE * before.abs().clamp_min(least)

    return moves(margin, 0.0) | moves(_excess, 1.0) if guarded else moves(margin, 0.0)


def _excess(logits: Tensor) -> Tensor:
    """Of a guarded victim's detector."""
    return logits[:, -1]
