"""Run the benchmark of the attacks and print how many times faster ours are than each library's, in one run.

``python -m benchmarks.compare_attacks [--only "digits and 32"] [--keep-memory] [--name attacks-cpu-1-thread]``

Processor time of one thread of an attack and of the pass that tells which images fool the network; "alone" is without
that pass, where a library does not make it. Contenders take turns round by round (``benchmarks/attack_turns.py``): a
ratio is of the least times, and "round by round" the median of the ratios of one round, which a drift of the machine
touches least. With ``--keep-memory`` freed memory stays with the process, for all contenders, as it does in the program
``medadv``; else glibc gives it back to Linux, and how often depends on what lies at the end of the heap.

The tables go to stdout, the numbers to ``benchmarks/results/NAME.json``; from there ``python -m
benchmarks.attack_times`` writes the pages. Libraries that are not installed are left out:
``benchmarks/requirements-attacks.txt``.
"""

from __future__ import annotations

import argparse
import json

from benchmarks.attack_times import tables
from benchmarks.compare import ATTACK_PEERS, ROOT, circumstances, run

# What medadv/cli/memory.py asks of glibc, as it is read when a process begins.
KEPT = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Time attacks beside public libraries.")
    parser.add_argument("--only", default="", help="words of pytest's -k, such as 'digits and 32 and pgd'")
    parser.add_argument("--keep-memory", action="store_true", help="freed memory stays with the process")
    parser.add_argument("--name", help="write benchmarks/results/NAME.json")
    arguments = parser.parse_args()
    variables, label = (KEPT, ", memory kept") if arguments.keep_memory else ({}, "")
    cases = run([str(ROOT / "bench_attacks.py")], arguments.only, threads=1, **variables)
    rows = [{**row, "size": row["size"] + label} for case in cases for row in case["rows"]]
    print(tables(rows), end="")
    if arguments.name:
        facts = circumstances(ATTACK_PEERS)
        (ROOT / "results" / f"{arguments.name}.json").write_text(json.dumps({**facts, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
