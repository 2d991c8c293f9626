"""Figures as SVG text, styled by the report's style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from medadv.report.results import Distances, Rate, Series
from medadv.report.wording import percent

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 50, 20, 26, 50
INSET = 22  # between the axes and the outermost points
CHARACTER = 7.5  # width at the size of the labels
BOLD_CHARACTER = 8.8

_REACH = 0.95  # of the distances found that are shown at least
_MOST_STEPS = 400  # of a curve


def accuracy_curve(series: Series, clean: Rate) -> str:
    """Robust accuracy against budget, with 95 % intervals as whiskers.

    Of an attack that looks for the smallest change every distance is a step of the curve, the median has a line, and
    the budgets are read off.

    Args:
        series: the attack.
        clean: accuracy at the budget that changes nothing.

    Returns:
        An <svg> element.
    """
    wording = series.wording
    budgets = [wording.identity, *(point.budget for point in series.points)]
    rates = [clean, *(point.robust for point in series.points)]
    end = max([*budgets, *_shown_distances(series)])
    place = _Axis(min(budgets), end)
    xs = [place(budget) for budget in budgets]
    parts = [_grid(), _clean_line(clean)]
    parts.append(_ticks(xs, [wording.budget(budget) for budget in budgets], wording.axis))
    if series.distances is None:
        parts.append(_polyline(list(zip(xs, [_y(rate.value) for rate in rates], strict=True))))
    else:
        parts += [_median_line(series, place), _polyline(_steps(series.distances, clean, place))]
    shown = _spaced(xs, [percent(rate.value) for rate in rates], BOLD_CHARACTER)
    for index, (x, budget, rate) in enumerate(zip(xs, budgets, rates, strict=True)):
        name = "no attack" if index == 0 else wording.budget_in_full(budget)
        parts.append(_mark(x, rate, name, hollow=index == 0, labelled=index in shown))
    summary = ", ".join(
        f"{percent(rate.value)} at {wording.budget(budget)}" for budget, rate in zip(budgets, rates, strict=True)
    )
    label = escape(f"{series.title}: robust accuracy {summary}.")
    body = "".join(parts)
    return f'<svg class="figure" role="img" aria-label="{label}" viewBox="0 0 {WIDTH} {HEIGHT}">{body}</svg>'


@dataclass(frozen=True)
class _Axis:
    """Where budgets lie on the horizontal axis."""

    low: float
    high: float

    def __call__(self, budget: float) -> float:
        room = WIDTH - LEFT - RIGHT - 2 * INSET
        return LEFT + INSET + room * (budget - self.low) / (self.high - self.low or 1.0)


def _shown_distances(series: Series) -> list[float]:
    """How far the axis must reach beyond the budgets: to the distance that suffices for 95 % of what was found."""
    found = () if series.distances is None else series.distances.found
    return [found[int(_REACH * (len(found) - 1))]] if found else []


def _steps(distances: Distances, clean: Rate, place: _Axis) -> list[tuple[float, float]]:
    """The corners of the curve that falls by one example at every distance; at most some hundreds."""
    total = max(clean.total, 1)
    corners = [(place(0.0), _y(clean.value))]
    stride = max(1, len(distances.found) // _MOST_STEPS)
    for number, distance in enumerate(distances.found, start=1):
        if distance > place.high:
            break
        if number % stride == 0 or number == len(distances.found):
            corners.append((place(distance), corners[-1][1]))
            corners.append((place(distance), _y((clean.count - number) / total)))
    return [*corners, (place(place.high), corners[-1][1])]


def _median_line(series: Series, place: _Axis) -> str:
    median = None if series.distances is None else series.distances.quantile(0.5)
    if median is None or median > place.high:
        return ""
    x, title = place(median), escape(f"median of the smallest changes: {series.wording.budget_in_full(median)}")
    return f'<g><title>{title}</title><line class="clean" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{_y(0):.1f}"/></g>'


def _polyline(corners: Sequence[tuple[float, float]]) -> str:
    return '<polyline class="curve" points="' + " ".join(f"{x:.1f},{y:.1f}" for x, y in corners) + '"/>'


def _y(value: float) -> float:
    return TOP + (1 - value) * (HEIGHT - TOP - BOTTOM)


def _spaced(xs: Sequence[float], labels: Sequence[str], character: float = CHARACTER) -> set[int]:
    """Which labels are shown, so that no two touch; the first and the last always are."""

    def touch(one: int, other: int) -> bool:
        return abs(xs[one] - xs[other]) < character * ((len(labels[one]) + len(labels[other])) / 2 + 0.7)

    last = len(xs) - 1
    kept = [0]
    for index in range(1, last):
        if not touch(index, kept[-1]) and not touch(index, last):
            kept.append(index)
    return {*kept, last}


def _grid() -> str:
    lines = []
    for value in (0, 0.25, 0.5, 0.75, 1):
        y = _y(value)
        kind = "axis" if value == 0 else "grid-line"
        lines.append(f'<line class="{kind}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{percent(value)}</text>')
    return "".join(lines)


def _clean_line(clean: Rate) -> str:
    y = _y(clean.value)
    return f'<line class="clean" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'


def _ticks(xs: Sequence[float], labels: Sequence[str], axis: str) -> str:
    y = _y(0)
    shown = _spaced(xs, labels)
    parts = []
    for index, (x, label) in enumerate(zip(xs, labels, strict=True)):
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{y:.1f}" y2="{y + 5:.1f}"/>')
        if index in shown:
            text = escape(label)
            parts.append(f'<text class="tick" x="{x:.1f}" y="{y + 20:.1f}" text-anchor="middle">{text}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="caption" x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{escape(axis)}</text>')
    return "".join(parts)


def _mark(x: float, rate: Rate, name: str, hollow: bool, labelled: bool) -> str:
    value, low, high = percent(rate.value), percent(rate.low), percent(rate.high)
    title = escape(f"{name}: {value} ({rate.count} of {rate.total}), 95 % interval {low} to {high}")
    top, bottom, y = _y(rate.high), _y(rate.low), _y(rate.value)
    whisker = f"M{x:.1f} {top:.1f}V{bottom:.1f}M{x - 4:.1f} {top:.1f}h8M{x - 4:.1f} {bottom:.1f}h8"
    kind = "dot hollow" if hollow else "dot"
    # Beginning at the mark, because the curve comes down from the left.
    label = f'<text class="value" x="{x - 6:.1f}" y="{top - 7:.1f}">{value}</text>'
    return (
        f'<g><title>{title}</title><path class="whisker" d="{whisker}"/>'
        f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>{label if labelled else ""}</g>'
    )
