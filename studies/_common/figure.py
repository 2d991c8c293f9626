"""Figures of curves and matrices as SVG without scripts, readable on light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.figure import COLOURS, STYLE

PANEL_WIDTH, PANEL_HEIGHT = 300, 210
LEFT, TOP, GAP, ROW_GAP = 62, 64, 70, 74
LEGEND_ROW, CHARACTER, TITLE_CHARACTER = 18, 7.2, 9.2
_OWN_STYLE = (
    ".curve { fill: none; stroke-width: 2; } .dashed { stroke-dasharray: 5 4; } .whisker { stroke-width: 1; }"
    ".small { font-size: 11px; } .cell { stroke: var(--paper); stroke-width: 2; } .number { font-size: 12px; }"
    ".on-dark { fill: #ffffff; } .on-light { fill: #1f2328; }"
)


@dataclass(frozen=True)
class Curve:
    """Points that belong together.

    Args:
        name: in the legend; the same name has the same colour in all panels.
        points: (x, y), or (x, y, low, high) with an interval of y.
        dashed: drawn with dashes, for what others are compared with.
    """

    name: str
    points: tuple[tuple[float, ...], ...]
    dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Args:
        title: above it.
        x_label, y_label: what the axes show.
        curves: what is drawn.
        x_ticks: (value, text) along x, rising; they set the range.
        y_ticks: the same along y.
        log_x, log_y: logarithmic axes.
    """

    title: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    log_x: bool = False
    log_y: bool = False

    def x(self, value: float) -> float:
        """Pixels from the left edge of the axes."""
        return _place(value, self.x_ticks, self.log_x) * PANEL_WIDTH

    def y(self, value: float) -> float:
        """Pixels from the upper edge of the axes."""
        return (1 - _place(value, self.y_ticks, self.log_y)) * PANEL_HEIGHT


PERCENT_TICKS = tuple((share / 100, f"{share} %") for share in (0, 25, 50, 75, 100))


def curves_figure(title: str, subtitle: str, panels: Sequence[Panel], columns: int) -> str:
    """Panels side by side, with one legend.

    Args:
        title, subtitle: above all.
        panels: row by row.
        columns: panels in a row.

    Returns:
        An SVG document.
    """
    curves = [curve for panel in panels for curve in panel.curves]
    dashed = {curve.name for curve in curves if curve.dashed}
    # Solid ones first, so that they keep their colours in a figure that leaves dashed ones out.
    names = sorted(dict.fromkeys(curve.name for curve in curves), key=lambda name: name in dashed)
    colour = dict(zip(names, COLOURS, strict=False))
    width = max(LEFT + columns * PANEL_WIDTH + (columns - 1) * GAP + 24, _width_of(title, subtitle))
    legend, top = _legend(colour, dashed, width)
    parts = [legend]
    for number, panel in enumerate(panels):
        left = LEFT + (number % columns) * (PANEL_WIDTH + GAP)
        upper = top + (number // columns) * (PANEL_HEIGHT + ROW_GAP)
        parts.append(f'<g transform="translate({left} {upper:.0f})">{_panel(panel, colour)}</g>')
    height = top + math.ceil(len(panels) / columns) * (PANEL_HEIGHT + ROW_GAP)
    return _document(title, subtitle, width, height, "".join(parts))


@dataclass(frozen=True)
class Matrix:
    """Shares by row and column.

    Args:
        title: above it.
        rows, columns: their names.
        values: [row][column] from 0 to 1; None: no value.
    """

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]


def matrices_figure(title: str, subtitle: str, matrices: Sequence[Matrix], columns: int) -> str:
    """Matrices of one shape side by side, dark where shares are high.

    Args:
        title, subtitle: above all.
        matrices: row by row.
        columns: matrices in a row.

    Returns:
        An SVG document.
    """
    cell_width, cell_height, left, gap = 50, 26, 84, 16
    first = matrices[0]
    wide = left + len(first.columns) * cell_width + gap
    high = 48 + len(first.rows) * cell_height + 22
    parts = []
    for number, matrix in enumerate(matrices):
        x, y = 16 + (number % columns) * wide, TOP + (number // columns) * high
        cells = [_text(left, 14, matrix.title, "heading")]
        for column, name in enumerate(matrix.columns):
            cells.append(_text(left + (column + 0.5) * cell_width, 34, name, "soft small", "middle"))
        for row, name in enumerate(matrix.rows):
            cells.append(_text(left - 6, 42 + (row + 0.65) * cell_height, name, "soft small", "end"))
            for column, value in enumerate(matrix.values[row]):
                cells.append(_cell(left + column * cell_width, 42 + row * cell_height, cell_width, cell_height, value))
        parts.append(f'<g transform="translate({x} {y})">{"".join(cells)}</g>')
    height = TOP + math.ceil(len(matrices) / columns) * high + 8
    width = max(16 + columns * wide + 16, _width_of(title, subtitle))
    return _document(title, subtitle, width, height, "".join(parts))


def _place(value: float, ticks: tuple[tuple[float, str], ...], log: bool) -> float:
    low, high = ticks[0][0], ticks[-1][0]
    if log:
        value, low, high = (math.log(max(each, ticks[0][0])) for each in (value, low, high))
    return min(max((value - low) / (high - low), 0.0), 1.0)


def _width_of(title: str, subtitle: str) -> float:
    return 32 + max(TITLE_CHARACTER * len(title), CHARACTER * len(subtitle))


def _document(title: str, subtitle: str, width: float, height: float, body: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'role="img" aria-label="{escape(title)}"><style>{STYLE}{_OWN_STYLE}</style>'
        f'<rect class="paper" width="100%" height="100%"/>{_text(16, 26, title, "title")}'
        f"{_text(16, 46, subtitle, 'soft')}{body}</svg>\n"
    )


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def _legend(colour: dict[str, str], dashed: set[str], width: float) -> tuple[str, float]:
    """The legend, and where the panels begin below it."""
    parts, x, y = [], 16.0, float(TOP + 4)
    for name, paint in colour.items():
        length = 40 + CHARACTER * len(name)
        if x + length > width - 16:
            x, y = 16.0, y + LEGEND_ROW
        kind = "curve dashed" if name in dashed else "curve"
        parts.append(f'<path class="{kind}" stroke="{paint}" d="M{x:.1f} {y - 4:.1f}h20"/>{_text(x + 26, y, name)}')
        x += length
    return "".join(parts), y + 40


def _panel(panel: Panel, colour: dict[str, str]) -> str:
    parts = [_text(0, -12, panel.title, "heading")]
    for value, words in panel.y_ticks:
        y = panel.y(value)
        parts.append(f'<line class="grid" x1="0" x2="{PANEL_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(-6, y + 4, words, "soft small", "end"))
    for value, words in panel.x_ticks:
        x = panel.x(value)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{PANEL_HEIGHT}"/>')
        parts.append(_text(x, PANEL_HEIGHT + 16, words, "soft small", "middle"))
    parts.append(_text(PANEL_WIDTH / 2, PANEL_HEIGHT + 34, panel.x_label, "soft small", "middle"))
    turned = f'transform="translate(-46 {PANEL_HEIGHT / 2}) rotate(-90)"'
    parts.append(f"<g {turned}>{_text(0, 0, panel.y_label, 'soft small', 'middle')}</g>")
    return "".join(parts + [_curve(panel, curve, colour[curve.name]) for curve in panel.curves])


def _curve(panel: Panel, curve: Curve, paint: str) -> str:
    line = " ".join(f"{panel.x(point[0]):.1f},{panel.y(point[1]):.1f}" for point in curve.points)
    kind = "curve dashed" if curve.dashed else "curve"
    parts = [f'<polyline class="{kind}" stroke="{paint}" points="{line}"/>']
    for x_value, y_value, *ends in curve.points:
        x = panel.x(x_value)
        if ends:
            high, low = panel.y(ends[1]), panel.y(ends[0])
            parts.append(f'<path class="whisker" stroke="{paint}" d="M{x:.1f} {high:.1f}V{low:.1f}"/>')
        parts.append(f'<circle cx="{x:.1f}" cy="{panel.y(y_value):.1f}" r="3" fill="{paint}"/>')
    return f"<g><title>{escape(curve.name)}</title>{''.join(parts)}</g>"


def _cell(x: float, y: float, width: float, height: float, value: float | None) -> str:
    if value is None:
        return _text(x + width / 2, y + 17, "–", "soft number", "middle")
    # From a pale to a dark blue; the same on light and dark paper.
    red, green, blue = (round(pale + value * (dark - pale)) for pale, dark in ((226, 16), (236, 66), (247, 128)))
    kind = "number on-dark" if value > 0.45 else "number on-light"
    box = f'<rect class="cell" x="{x}" y="{y}" width="{width}" height="{height}" fill="rgb({red},{green},{blue})"/>'
    return box + _text(x + width / 2, y + 17, f"{100 * value:.0f}", kind, "middle")
