"""The committed results of parity as one page: ``python -m benchmarks.parity_summary > docs/parity.md``.

One line per attack: ours beside the best library of the same run.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from benchmarks import other_seeds, query_curves
from benchmarks.parity import BEHIND, FARTHER, MINIMUM_NORM

RESULTS = Path(__file__).parent / "results"
INTRODUCTION = """\
# Parity of the attacks

Ours beside torchattacks, Foolbox, ART and adv-lib, at equal images, norms, budgets, steps and constants: `python -m
benchmarks.parity --save`, and `python -m benchmarks.query_curves --save` for HopSkipJump. Written from
`benchmarks/results` by `python -m benchmarks.parity_summary > docs/parity.md`.

Robust accuracy at the budget; for minimum-norm attacks the mean distance over the images that every contender broke.
Lower is the better attack. With several seeds: the mean, and the standard deviation over seeds. The library is the best
of those that have the attack; calls are forward and backward passes per image, of ours and of this library. Behind: how
far ours are from the best library, in robust accuracy or as a share of its distance; negative where ours are better.
"""
HEAD = ["attack", "images", "seeds", "medadv", "best library", "behind", "calls: medadv", "library"]


def page() -> str:
    """The whole page as Markdown."""
    lines = INTRODUCTION.splitlines()
    for path in sorted(RESULTS.glob("parity-*.json")):
        lines += section(json.loads(path.read_text()))
    for path in sorted(RESULTS.glob("queries-*.json")):
        report = json.loads(path.read_text())
        lines += ["", f"## {report['rows'][0]['network']}: HopSkipJump at equal queries", "", circumstances(report), ""]
        lines += [
            "Mean distance over the images for which every contender had one by then; in brackets, how much farther"
        ]
        lines += ["than ours, image by image, with the standard error.", ""]
        lines += query_curves.table(report["rows"]).splitlines()
    for path in sorted(RESULTS.glob("seeds-*.json")):
        lines += networks_of_other_seeds(json.loads(path.read_text()))
    return "\n".join(lines) + "\n"


def section(report: dict) -> list[str]:
    """The lines of one network."""
    found: dict[str, list[dict]] = {}
    for row in report["rows"]:
        found.setdefault(row["case"], []).append(row)
    late = [f"{case} ({behind(rows)})" for case, rows in found.items() if is_behind(rows)]
    lines = ["", f"## {report['rows'][0]['network']}", "", circumstances(report), ""]
    lines += [f"More than {BEHIND} behind, or more than {FARTHER:.1%} farther: {', '.join(late) or 'none'}.", ""]
    lines += [f"| {' | '.join(HEAD)} |", "| --- " * len(HEAD) + "|"]
    return [*lines, *(line(rows) for rows in found.values())]


def networks_of_other_seeds(report: dict) -> list[str]:
    """The lines of one attack on several networks."""
    first = report["rows"][0]
    lines = ["", f"## {first['network']}: {first['case']}, on networks of several seeds", ""]
    lines += [f"{report['cpu']}, {report['instruction_set']}; torch {report['torch']}; commit {report['commit'][:7]}."]
    lines += [
        "",
        "Robust accuracy at the median distance, and distances where both broke the image, of all and of those",
    ]
    lines += ["within that distance for either: ours less the peer's, image by image, with the standard error; in the"]
    lines += ["last line over the networks, which share their images (`python -m benchmarks.other_seeds`).", ""]
    return lines + other_seeds.table(report["rows"]).splitlines()


def circumstances(report: dict) -> str:
    """Machine, versions and commits."""
    commits = ", ".join(dict.fromkeys(row["commit"] for row in report["rows"]))
    return f"{report['cpu']}, {report['instruction_set']}; torch {report['torch']}; commit {commits}."


def line(rows: list[dict]) -> str:
    """One attack: ours, and the best library; the rows are of one case."""
    ours, best = rows[0], best_library(rows)
    cells = [ours["case"], str(ours["images"]), str(len(ours["robust_accuracies"])), value(ours)]
    cells += ["none has it, or could run it", "", calls(ours), ""]
    if best is not None:
        cells[4:] = [f"{value(best)} ({best['contender']})", behind(rows), calls(ours), calls(best)]
    return f"| {' | '.join(cells)} |"


def measure(row: dict) -> str:
    return "mean_distance" if row["case"].split()[0] in MINIMUM_NORM else "robust_accuracy"


def best_library(rows: list[dict]) -> dict | None:
    """None where no library ran the attack."""
    return min(rows[1:], key=lambda row: row[measure(row)], default=None)


def gap(rows: list[dict]) -> float:
    """How far ours are behind the best library; 0 where there is none."""
    best = best_library(rows)
    if best is None:
        return 0.0
    key = measure(best)
    return (rows[0][key] - best[key]) / (best[key] if key == "mean_distance" else 1.0)


def is_behind(rows: list[dict]) -> bool:
    """By more than is let pass; a robust accuracy counts images, so one that is just as much passes."""
    return gap(rows) > (FARTHER if measure(rows[0]) == "mean_distance" else BEHIND) + 1e-9


def behind(rows: list[dict]) -> str:
    """In words of the table."""
    return f"{gap(rows):+.1%}" if measure(rows[0]) == "mean_distance" else f"{gap(rows):+.3f}"


def value(row: dict) -> str:
    """Mean over the seeds, with the standard deviation where there are several."""
    key = measure(row)
    each = row["mean_distances" if key == "mean_distance" else "robust_accuracies"]
    digits = 4 if key == "mean_distance" else 3
    spread = f" ± {statistics.stdev(each):.{digits}f}" if len(each) > 1 else ""
    return f"{row[key]:.{digits}f}{spread}"


def calls(row: dict) -> str:
    return f"{row['forwards'] + row['backwards']:.0f}"


if __name__ == "__main__":
    print(page(), end="")
