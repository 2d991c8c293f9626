"""What was attacked, in sentences: a model that draws random numbers, a model with a detector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medadv.report.results import Rate, Results, Series
from medadv.report.wording import THIN_SPACE, count, percent, percent_number


def attacked(model: dict[str, Any], results: Results) -> list[str]:
    """What has to be known of the model to read the numbers; nothing of a plain network.

    Args:
        model: of the plan.
        results: counted.

    Returns:
        Sentences.
    """
    sentences = []
    if "draws" in model:
        sentences += _of_draws(model["draws"], results.series)
    if results.rejected is not None:
        sentences += _of_detector(results.rejected, results.series)
    return sentences


def detector_text(detector: dict[str, Any]) -> str:
    """A detector as a fact.

    >>> detector_text({"kind": "GaussianDetector", "layers": ["head.3"], "threshold": 12.5, "unit": 4.0})
    'GaussianDetector on head.3, threshold 12.5, unit 4'
    """
    layers = ", ".join(detector["layers"])
    return f"{detector['kind']} on {layers}, threshold {detector['threshold']:g}, unit {detector['unit']:g}"


def _of_draws(draws: int, series: Sequence[Series]) -> list[str]:
    sentences = [
        f"The model draws random numbers: an image counts as fooled where the mean of its logits over {count(draws)} "
        "fixed draws is wrong."
    ]
    seeing = [each for each in series if "surrogate" not in each.configuration]
    stepping = [each.title for each in seeing if "gradient" in each.configuration]
    others = [each.title for each in seeing if "gradient" not in each.configuration]
    if stepping:
        sentences.append(f"{_and(stepping)} follow{_s(stepping)} the gradients of other draws, fresh in every step.")
    if others:
        sentences.append(f"{_and(others)} see{_s(others)} the very draws that decide.")
    return sentences


def _of_detector(rejected: Rate, series: Sequence[Series]) -> list[str]:
    interval = f"{percent_number(rejected.low)} to {percent(rejected.high)}"
    sentences = [
        f"The model has a detector, which rejects {count(rejected.count)} of the {count(rejected.total)} images "
        f"without attack ({percent(rejected.value)}, 95{THIN_SPACE}% interval {interval}). A rejected image counts as "
        "right: an image is fooled only where its answer is wrong and goes undetected."
    ]
    aims: dict[str, list[str]] = {}
    unaware = []
    for each in series:
        objective = str(each.configuration.get("objective", ""))
        if objective.startswith("Undetected("):
            aims.setdefault(objective, []).append(each.title)
        elif "surrogate" in each.configuration:
            unaware.append(each.title)
    sentences += [f"{_and(titles)} raise{_s(titles)} {aim}, which knows of it." for aim, titles in aims.items()]
    if not aims:
        sentences.append("No attack here makes gradient steps against it: one that does may fool many more.")
    if unaware:
        sentences.append(f"{_and(unaware)} know{_s(unaware)} nothing of it.")
    return sentences


def _s(names: Sequence[str]) -> str:
    """The ending of their verb."""
    return "s" if len(names) == 1 else ""


def _and(names: Sequence[str]) -> str:
    """A list in words.

    >>> _and(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
