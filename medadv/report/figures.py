"""Figures as SVG text, styled by the report's style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from medadv.report.results import Rate, Series
from medadv.report.wording import percent

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 50, 20, 26, 50
INSET = 22  # between the axes and the outermost points
CHARACTER = 7.5  # width at the size of the labels


def accuracy_curve(series: Series, clean: Rate) -> str:
    """Robust accuracy against budget, with 95 % intervals as whiskers.

    Args:
        series: the attack.
        clean: accuracy at the budget that changes nothing.

    Returns:
        An <svg> element.
    """
    wording = series.wording
    budgets = [wording.identity, *(point.budget for point in series.points)]
    rates = [clean, *(point.robust for point in series.points)]
    xs = _positions(budgets)
    ys = [_y(rate.value) for rate in rates]
    parts = [_grid(), _clean_line(clean)]
    parts.append(_ticks(xs, [wording.budget(budget) for budget in budgets], wording.axis))
    parts.append('<polyline class="curve" points="' + " ".join(map(_pair, xs, ys)) + '"/>')
    shown = _spaced(xs, [percent(rate.value) for rate in rates])
    for index, (x, budget, rate) in enumerate(zip(xs, budgets, rates, strict=True)):
        name = "no attack" if index == 0 else wording.budget_in_full(budget)
        parts.append(_mark(x, rate, name, hollow=index == 0, labelled=index in shown))
    summary = ", ".join(
        f"{percent(rate.value)} at {wording.budget(budget)}" for budget, rate in zip(budgets, rates, strict=True)
    )
    label = escape(f"{series.title}: robust accuracy {summary}.")
    body = "".join(parts)
    return f'<svg class="figure" role="img" aria-label="{label}" viewBox="0 0 {WIDTH} {HEIGHT}">{body}</svg>'


def _positions(budgets: Sequence[float]) -> list[float]:
    low, high = min(budgets), max(budgets)
    room = WIDTH - LEFT - RIGHT - 2 * INSET
    span = high - low or 1.0
    return [LEFT + INSET + room * (budget - low) / span for budget in budgets]


def _y(value: float) -> float:
    return TOP + (1 - value) * (HEIGHT - TOP - BOTTOM)


def _pair(x: float, y: float) -> str:
    return f"{x:.1f},{y:.1f}"


def _spaced(xs: Sequence[float], labels: Sequence[str]) -> set[int]:
    """Which labels are shown, so that no two touch; the first and the last always are."""

    def touch(one: int, other: int) -> bool:
        return abs(xs[one] - xs[other]) < CHARACTER * ((len(labels[one]) + len(labels[other])) / 2 + 0.7)

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
