"""Run the benchmarks and print how many times faster we are than each peer, in one run.

``python -m benchmarks.compare [--only bias_field] [--size 2d_224] [--threads 1] [--name NAME]``

Times are the minimum over rounds; with one thread on the CPU they are processor time, which a busy machine
disturbs least. The table goes to stdout; the numbers behind it to ``benchmarks/results/NAME.json``.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the benchmarks and print ratios to peers.")
    parser.add_argument("--only", default="", help="a word in the name of the benchmark file, such as bias_field")
    parser.add_argument("--size", default="", help="one size, such as 2d_224")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument("--name", help="write benchmarks/results/NAME.json")
    arguments = parser.parse_args()
    files = sorted(str(path) for path in ROOT.glob(f"bench_*{arguments.only}*.py"))
    if not files:
        parser.error(f"--only: no benchmark file has {arguments.only!r} in its name")
    report = run(files, arguments.size, arguments.threads)
    rows = [{**b["extra_info"], "seconds": b["stats"]["min"], "median": b["stats"]["median"]} for b in report]
    print(table(rows))
    if arguments.name:
        path = ROOT / "results" / f"{arguments.name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({**circumstances(arguments.threads), "rows": rows}, indent=1) + "\n")
        print(f"\n{path}", file=sys.stderr)


def run(files: list[str], size: str, threads: int) -> list[dict]:
    """The benchmarks as pytest-benchmark reports them."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "benchmark.json"
        command = [sys.executable, "-m", "pytest", "-q", *files, "--benchmark-enable", "--benchmark-disable-gc"]
        command += [f"--benchmark-json={output}", "--benchmark-columns=min,median", "-p", "no:cacheprovider"]
        command += ["-k", size] if size else []
        command += ["--benchmark-timer=time.process_time"] if threads == 1 else []
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        subprocess.run(command, check=True, env=environment, cwd=ROOT.parent, stdout=sys.stderr)
        return json.loads(output.read_text())["benchmarks"]


def table(rows: list[dict]) -> str:
    """Markdown: one line per operation, mode and size; a column per peer with its time over ours."""
    cases: dict[tuple, dict[str, float]] = defaultdict(dict)
    for row in rows:
        cases[row["operation"], row["mode"], row["size"], row["device"]][row["contender"]] = row["seconds"]
    peers = sorted({row["contender"] for row in rows} - {"medadv"})
    lines = [
        f"| operation | pass | size | device | medadv, ms | {' | '.join(f'over {peer}' for peer in peers)} |",
        "| --- " * (5 + len(peers)) + "|",
    ]
    for case, times in cases.items():
        ratios = [f"{times[peer] / times['medadv']:.1f}x" if peer in times else "" for peer in peers]
        lines.append(f"| {' | '.join(case)} | {times['medadv'] * 1e3:.2f} | {' | '.join(ratios)} |")
    return "\n".join(lines)


def circumstances(threads: int) -> dict:
    """Where and with what the numbers were measured."""
    import torch

    from medadv.ops import build_info

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()

    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "",
    )
    return {
        "commit": git("rev-parse", "HEAD"),
        "changed": bool(git("status", "--porcelain", "--untracked-files=no")),
        "cpu": cpu,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": threads,
        "clock": "processor time" if threads == 1 else "wall time",
        "python": platform.python_version(),
        **build_info(),
    }


if __name__ == "__main__":
    main()
