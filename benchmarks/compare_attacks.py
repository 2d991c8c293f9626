"""Run the benchmark of the attacks and print how many times faster ours are than each library's, in one run.

``python -m benchmarks.compare_attacks [--only pgd] [--runs 2] [--name attacks-cpu-1-thread]``

Processor time of one thread, the minimum over rounds, and over runs of the whole, of an attack and of the pass that
tells which images fool the network; "alone" is without that pass, where a library does not make it. The tables go to
stdout, the numbers to ``benchmarks/results/NAME.json``. Libraries that are not installed are left out:
``benchmarks/requirements-attacks.txt``.
"""

from __future__ import annotations

import argparse
import json

from benchmarks.compare import ATTACK_PEERS, ROOT, cases, circumstances, run


def main() -> None:
    parser = argparse.ArgumentParser(description="Time attacks beside public libraries.")
    parser.add_argument("--only", default="", help="words of pytest's -k, such as 'pgd and digits'")
    parser.add_argument("--runs", type=int, default=1, help="how often all is run (default 1)")
    parser.add_argument("--name", help="write benchmarks/results/NAME.json and NAME.md")
    arguments = parser.parse_args()
    file = str(ROOT / "bench_attacks.py")
    rows = quickest([run([file], arguments.only, threads=1) for _ in range(arguments.runs)])
    tables = f"{summary(rows)}\n\n{table(rows)}"
    print(tables)
    if arguments.name:
        facts = circumstances(ATTACK_PEERS)
        (ROOT / "results" / f"{arguments.name}.json").write_text(json.dumps({**facts, "rows": rows}, indent=1) + "\n")
        (ROOT / "results" / f"{arguments.name}.md").write_text(tables + "\n")


def quickest(runs: list[list[dict]]) -> list[dict]:
    """Of each row the run with the least time."""
    found: dict[tuple, dict] = {}
    for row in (row for rows in runs for row in rows):
        key = (row["operation"], row["size"], row["contender"])
        if key not in found or row["seconds"] < found[key]["seconds"]:
            found[key] = row
    return list(found.values())


def summary(rows: list[dict]) -> str:
    """Markdown: one line per attack, with the fastest library's time over ours."""
    lines = [
        "| network | attack, steps | medadv, CPU ms | fastest library | its time over ours | alone |",
        "| --- " * 6 + "|",
    ]
    for (operation, _, size, _, _), contenders in cases(rows).items():
        ours = contenders.pop("medadv")["seconds"]
        if not contenders:
            continue
        name, best = min(contenders.items(), key=lambda contender: contender[1]["seconds"])
        lines.append(
            f"| {size} | {operation} | {ours * 1e3:.0f} | {name} | {best['seconds'] / ours:.2f}x "
            f"| {best['seconds_alone'] / ours:.2f}x |"
        )
    return "\n".join(lines)


def table(rows: list[dict]) -> str:
    """Markdown: one line per contender, with its time over ours."""
    lines = [
        "| network | attack, steps | contender | CPU ms | time over ours | alone | forwards per image "
        "| backwards per image | success |",
        "| --- " * 9 + "|",
    ]
    for (operation, _, size, _, _), contenders in cases(rows).items():
        ours = contenders["medadv"]["seconds"]
        for name, row in contenders.items():
            lines.append(
                f"| {size} | {operation} | {name} | {row['seconds'] * 1e3:.0f} | {row['seconds'] / ours:.2f}x "
                f"| {row['seconds_alone'] / ours:.2f}x | {row['forwards']:.1f} | {row['backwards']:.1f} "
                f"| {row['success']:.2f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
