"""The committed times of attacks as tables: ``python -m benchmarks.attack_times``.

Writes, from every ``benchmarks/results/attacks-*.json``, all contenders to the ``.md`` beside it, and ours beside the
fastest library to the table in ``docs/attacks.md``.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from benchmarks.attack_turns import OURS
from benchmarks.compare import cases

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "attacks.md"
HEAD = "| network | attack, steps | medadv, CPU ms |"  # as far as the table is known by


def main() -> None:
    for path, rows in committed().items():
        path.with_suffix(".md").write_text(tables(rows))
    PAGE.write_text(with_table(PAGE.read_text(), summary(all_rows())))


def committed() -> dict[Path, list[dict]]:
    """The rows of every result, by its file."""
    return {path: json.loads(path.read_text())["rows"] for path in sorted(RESULTS.glob("attacks-*.json"))}


def all_rows() -> list[dict]:
    """The rows of every result, by the name of the network."""
    return sorted((row for rows in committed().values() for row in rows), key=lambda row: row["size"])


def with_table(text: str, lines: str) -> str:
    """The text, with these lines for its table of times."""
    before, after = text.split(f"\n{HEAD}", 1)
    _, end, rest = after.partition("\n\n")
    return f"{before}\n{lines}{end}{rest}"


def tables(rows: list[dict]) -> str:
    """Ours beside the fastest library, then all contenders."""
    return f"{summary(rows)}\n\n{table(rows)}\n"


def summary(rows: list[dict]) -> str:
    """Markdown: one line per attack, with the fastest library's time over ours."""
    lines = [f"{HEAD} fastest library | its time over ours | round by round | alone | rounds |", "| --- " * 8 + "|"]
    for (operation, _, size, _, _), contenders in cases(rows).items():
        ours = contenders.pop(OURS)
        if not contenders:
            continue
        name, best = min(contenders.items(), key=lambda contender: contender[1]["seconds"])
        lines.append(f"| {size} | {operation} | {milliseconds(ours['seconds'])} | {name} | {ratios(best, ours)} |")
    return "\n".join(lines)


def table(rows: list[dict]) -> str:
    """Markdown: one line per contender, with its time over ours."""
    lines = [
        "| network | attack, steps | contender | CPU ms | median | time over ours | round by round | alone | rounds "
        "| forwards per image | backwards per image | success |",
        "| --- " * 12 + "|",
    ]
    for (operation, _, size, _, _), contenders in cases(rows).items():
        for name, row in contenders.items():
            lines.append(
                f"| {size} | {operation} | {name} | {milliseconds(row['seconds'])} | {milliseconds(row['median'])} "
                f"| {ratios(row, contenders[OURS])} | {row['forwards']:.1f} | {row['backwards']:.1f} "
                f"| {row['success']:.2f} |"
            )
    return "\n".join(lines)


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.0f}"


def ratios(row: dict, ours: dict) -> str:
    """The cells of a contender's time over ours: of the least, the median over rounds, of the least alone; rounds."""
    cells = [f"{row['seconds'] / ours['seconds']:.2f}x", round_by_round(row, ours)]
    cells += [f"{row['seconds_alone'] / ours['seconds']:.2f}x", str(row["rounds"])]
    return " | ".join(cells)


def round_by_round(row: dict, ours: dict) -> str:
    """Median of a contender's time over ours in the same round."""
    # A slow library had its turns in the first of our rounds.
    pairs = zip(row["seconds_by_round"], ours["seconds_by_round"], strict=False)
    return f"{statistics.median(theirs / mine for theirs, mine in pairs):.2f}x"


if __name__ == "__main__":
    main()
