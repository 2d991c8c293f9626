"""The committed results as one page: ``python -m benchmarks.summary > docs/speed.md``.

One line per operation, pass and size: how many times faster we are than plain PyTorch, eager and compiled, and than the
fastest and the slowest library that was measured beside us. Ratios are of the same run.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks.compare import cases, is_near

RESULTS = Path(__file__).parent / "results"
PLAIN = ("eager", "compiled", "copy", "single operators")
INTRODUCTION = """\
# Speed of the operations

How many times faster than the strongest plain-PyTorch form (separable basis matrices, `grid_sample`), eager and under
`torch.compile`, and than libraries: the fastest and the slowest, ~ where it computes something near and not the same
(`benchmarks/peers` says what). Measured side by side in one run by `python -m benchmarks.compare`; written from
`benchmarks/results` by `python -m benchmarks.summary > docs/speed.md`. Sizes are 32x1x224x224, 8x3x512x512, 1x1x128^3,
2x1x160x192x160, float32; lattice spacing 32 voxels in 2D, 16 in 3D. One thread: processor time; else wall time.
"""
HEAD = ["operation", "pass", "size", "threads", "medadv, ms", "over eager", "over compiled", "over libraries"]


def reports() -> Iterator[tuple[str, dict]]:
    """Name and content of every result of benchmarks/compare.py, by name; those of attacks move no counted bytes."""
    for path in sorted(RESULTS.glob("*.json")):
        report = json.loads(path.read_text())
        if "bytes" in report["rows"][0]:
            yield path.stem, report


def page() -> str:
    """The whole page as Markdown."""
    lines = INTRODUCTION.splitlines()
    for name, report in reports():
        lines += [
            "",
            f"## {name}",
            "",
            circumstances(report),
            "",
            f"| {' | '.join(HEAD)} |",
            "| --- " * len(HEAD) + "|",
        ]
        for case, contenders in cases(report["rows"]).items():
            lines.append(line(case, contenders))
    return "\n".join(lines) + "\n"


def circumstances(report: dict) -> str:
    machine = report["gpu"] or f"{report['cpu']}, {report['instruction_set']}"
    return f"{machine}; torch {report['torch']}; commit {report['commit'][:7]}."


def line(case: tuple, contenders: dict[str, dict]) -> str:
    operation, mode, size, _, threads = case
    ours = contenders["medadv"]["seconds"]
    ratios = {name: row["seconds"] / ours for name, row in contenders.items() if name != "medadv"}
    plain = [times(ratios[name]) if name in ratios else "" for name in PLAIN[:2]]
    cells = [operation, mode, size, str(threads), f"{ours * 1e3:.3g}", *plain, libraries(operation, ratios)]
    return f"| {' | '.join(cells)} |"


def libraries(operation: str, ratios: dict[str, float]) -> str:
    """The fastest and the slowest of them."""
    found = sorted((ratio, name) for name, ratio in ratios.items() if name not in PLAIN)
    ends = found if len(found) < 2 else [found[0], found[-1]]
    return " to ".join(f"{'~' if is_near(name, operation) else ''}{times(ratio)} ({name})" for ratio, name in ends)


def times(ratio: float) -> str:
    return f"{ratio:.{0 if ratio >= 10 else 1}f}x"


if __name__ == "__main__":
    print(page(), end="")
