"""The table of ratios as a picture: one SVG without scripts, readable on light and dark."""

from __future__ import annotations

import math
from collections import defaultdict
from html import escape

from benchmarks.compare import cases, is_near, peers_of

WIDTH, LEFT, RIGHT, TOP = 900, 90, 34, 104
ROW, HEADING = 17, 26
LOW, HIGH = 0.5, 5000.0  # ratios that the axis spans
COLOURS = ["#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f", "#b07aa1", "#ff9da7", "#9c755f", "#c8a200", "#7a7a7a"]
STYLE = """
svg { --ink: #1f2328; --soft: #59636e; --line: #d8dee4; --bar: #d0d7de; --paper: #ffffff; }
@media (prefers-color-scheme: dark) {
  svg { --ink: #e6edf3; --soft: #9198a1; --line: #30363d; --bar: #3d444d; --paper: #0d1117; }
}
text { font: 12px system-ui, sans-serif; fill: var(--ink); }
.title { font-size: 16px; font-weight: 600; } .soft { fill: var(--soft); } .heading { font-weight: 600; }
.grid { stroke: var(--line); } .one { stroke: var(--soft); } .bar { fill: var(--bar); } .paper { fill: var(--paper); }
"""


def figure(rows: list[dict], facts: dict) -> str:
    """Time of every peer over ours, on a logarithmic axis, for the fewest threads that were measured.

    A bar ends at the strongest peer of a case. Filled marks compute the same as we do, hollow ones something near;
    squares are plain PyTorch.
    """
    threads = min(row["threads"] for row in rows)
    panels: dict[tuple, list] = defaultdict(list)
    for (operation, mode, size, device, _), contenders in cases([r for r in rows if r["threads"] == threads]).items():
        label = size if device == "cpu" else f"{size} {device}"
        panels[operation, mode].append((label, contenders))
    peers = [name for name in peers_of(rows) if name != "copy"]
    colour = dict(zip(peers, COLOURS, strict=False))
    parts, y = [], TOP
    for (operation, mode), lines in panels.items():
        parts.append(_text(16, y + HEADING - 8, f"{operation}, {mode}", "heading"))
        y += HEADING
        for label, contenders in lines:
            parts.append(_line(y, label, operation, contenders, colour))
            y += ROW
    height = y + 34
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img" '
        f'aria-label="Time of other implementations over that of medadv"><style>{STYLE}</style>'
        f'<rect class="paper" width="100%" height="100%"/>{_head(threads, facts)}{_legend(colour)}'
        f"{_axis(y)}{''.join(parts)}</svg>\n"
    )


def _x(ratio: float) -> float:
    share = math.log(min(max(ratio, LOW), HIGH) / LOW) / math.log(HIGH / LOW)
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def _head(threads: int, facts: dict) -> str:
    where = facts["gpu"] or facts["cpu"]
    cores = f"{threads} thread{'s' if threads > 1 else ''}"
    made = f"{where}, {cores}, torch {facts['torch']}, commit {facts['commit'][:7]}{'+' if facts['changed'] else ''}"
    key = "squares: plain PyTorch; hollow: something near; bar: the strongest"
    title = _text(16, 26, "Time of other implementations over that of medadv", "title")
    return title + _text(16, 46, made, "soft") + _text(WIDTH - RIGHT, 46, key, "soft", "end")


def _legend(colour: dict[str, str]) -> str:
    parts, x, y = [], 16.0, 68.0
    for name in colour:
        width = 28 + 7.2 * len(name)
        if x + width > WIDTH - RIGHT:
            x, y = 16.0, y + 18
        parts.append(_mark(x + 6, y - 4, name, colour[name], hollow=False) + _text(x + 16, y, name))
        x += width
    return "".join(parts)


def _axis(bottom: float) -> str:
    parts = []
    for ratio in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000):
        x, kind = _x(ratio), "one" if ratio == 1 else "grid"
        parts.append(f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom + 4}"/>')
        parts.append(_text(x, bottom + 20, f"{ratio:g}x", "soft", "middle"))
    return "".join(parts)


def _line(y: float, label: str, operation: str, contenders: dict[str, dict], colour: dict[str, str]) -> str:
    ours = contenders["medadv"]["seconds"]
    ratios = {name: contenders[name]["seconds"] / ours for name in colour if name in contenders}
    parts = [_text(LEFT - 8, y + 12, label, "soft", "end")]
    if ratios:
        start, end = sorted((_x(1.0), _x(min(ratios.values()))))
        parts.append(f'<rect class="bar" x="{start:.1f}" y="{y + 3}" width="{end - start:.1f}" height="{ROW - 6}"/>')
    for name, ratio in sorted(ratios.items(), key=lambda item: -item[1]):
        title = f"<title>{escape(name)}: {ratio:.1f}x</title>"
        mark = _mark(_x(ratio), y + ROW / 2, name, colour[name], hollow=is_near(name, operation))
        parts.append(f"<g>{title}{mark}</g>")
    return "".join(parts)


def _mark(x: float, y: float, name: str, colour: str, hollow: bool) -> str:
    paint = f'fill="{"none" if hollow else colour}" stroke="{colour}" stroke-width="2"'
    if name in ("eager", "compiled"):
        return f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" {paint}/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.3" {paint}/>'
