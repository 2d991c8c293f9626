"""Run the benchmarks and print how many times faster we are than each peer, in one run.

``python -m benchmarks.compare [--only bias_field] [--size 2d_224] [--threads 1 2] [--name NAME]``

Times are the minimum over rounds; with one thread on the CPU they are processor time, which a busy machine
disturbs least. The table goes to stdout; the numbers behind it to ``benchmarks/results/NAME.json``, and a picture of
them to ``NAME.svg``. Libraries that are not installed are left out: ``benchmarks/requirements-peers.txt``.
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
PEERS, ATTACK_PEERS = "requirements-peers.txt", "requirements-attacks.txt"


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the benchmarks and print ratios to peers.")
    parser.add_argument("--only", default="", help="a word in the name of the benchmark file, such as bias_field")
    parser.add_argument("--size", default="", help="one size, such as 2d_224")
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="CPU threads, one run each (default 1)")
    parser.add_argument("--name", help="write benchmarks/results/NAME.json and NAME.svg")
    arguments = parser.parse_args()
    # Attacks have a table of their own: benchmarks.compare_attacks.
    found = ROOT.glob(f"bench_*{arguments.only}*.py")
    files = sorted(str(path) for path in found if path.name != "bench_attacks.py")
    if not files:
        parser.error(f"--only: no benchmark file has {arguments.only!r} in its name")
    rows = [row for threads in arguments.threads for row in run(files, arguments.size, threads)]
    facts = circumstances()
    print(table(rows, facts["copy_bandwidth"]))
    if arguments.name:
        save(arguments.name, rows, facts)


def run(files: list[str], size: str, threads: int, **variables: str) -> list[dict]:
    """One row per benchmark, as benchmarks/conftest.py notes it, with seconds per call; variables: environment."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "benchmark.json"
        command = [sys.executable, "-m", "pytest", "-q", *files, "--benchmark-enable", "--benchmark-disable-gc"]
        command += [f"--benchmark-json={output}", "--benchmark-columns=min,median", "-p", "no:cacheprovider"]
        command += ["-k", size] if size else []
        command += ["--benchmark-timer=time.process_time"] if threads == 1 else []
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
        environment = {**os.environ, **dict.fromkeys(names, str(threads)), **variables}
        subprocess.run(command, check=True, env=environment, cwd=ROOT.parent, stdout=sys.stderr)
        report = json.loads(output.read_text())["benchmarks"]
    rows = []
    for measured in report:
        row, stats = measured["extra_info"], measured["stats"]
        calls = row.pop("calls")
        rows.append({**row, "seconds": stats["min"] / calls, "median": stats["median"] / calls})
    return rows


def cases(rows: list[dict]) -> dict[tuple, dict[str, dict]]:
    """(operation, mode, size, device, threads) -> contender -> row, where we are among the contenders."""
    found: dict[tuple, dict[str, dict]] = defaultdict(dict)
    for row in rows:
        case = (row["operation"], row["mode"], row["size"], row["device"], row["threads"])
        found[case][row["contender"]] = row
    return {case: contenders for case, contenders in found.items() if "medadv" in contenders}


def peers_of(rows: list[dict]) -> list[str]:
    """Every other contender, plain PyTorch first."""
    plain = ["compiled", "eager", "copy"]
    found = {row["contender"] for row in rows} - {"medadv"}
    return [*[name for name in plain if name in found], *sorted(found - set(plain), key=str.lower)]


def is_near(contender: str, operation: str) -> bool:
    """Whether a peer computes something near, and not the same."""
    from benchmarks.peers import PEERS

    # An operation of a table may carry a setting, such as the sigma of a blur.
    return contender in PEERS and any(operation.startswith(near) for near in PEERS[contender].near)


def table(rows: list[dict], copy_bandwidth: dict[str, float]) -> str:
    """Markdown: one line per case; a column per peer with its time over ours, ~ where it computes something near.

    ``scratch`` is the peak of memory beyond inputs and results, ours and that of eager PyTorch. On a GPU also: launches
    per call, and how much of the bandwidth of a copy it takes to read the inputs and write the results in that time.
    """
    grouped, peers = cases(rows), peers_of(rows)
    several, cuda = len({case[4] for case in grouped}) > 1, any(case[3] == "cuda" for case in grouped)
    head = ["operation", "pass", "size", "device", "threads", "medadv, ms", "scratch, MB", "of eager, MB"]
    head += ["over 1 thread"] if several else []
    head += ["launches", "GB/s", "of copy"] if cuda else []
    lines = [f"| {' | '.join([*head, *[f'over {peer}' for peer in peers]])} |"]
    lines.append("| --- " * (len(head) + len(peers)) + "|")
    for case, contenders in grouped.items():
        ours = contenders["medadv"]
        cells = [*map(str, case), f"{ours['seconds'] * 1e3:.3g}", scratch(ours), scratch(contenders.get("eager"))]
        if several:
            single = grouped.get((*case[:4], 1), {}).get("medadv")
            cells.append(f"{single['seconds'] / ours['seconds']:.2f}x" if single else "")
        if cuda:
            cells += roofline(ours, copy_bandwidth) if case[3] == "cuda" else ["", "", ""]
        for peer in peers:
            ratio = contenders[peer]["seconds"] / ours["seconds"] if peer in contenders else None
            near = "~" if is_near(peer, case[0]) else ""
            cells.append("" if ratio is None else f"{near}{ratio:.{0 if ratio >= 100 else 1}f}x")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def scratch(row: dict | None) -> str:
    return "" if row is None or row["scratch"] is None else f"{row['scratch'] / 1e6:.1f}"


def roofline(ours: dict, copy_bandwidth: dict[str, float]) -> list[str]:
    rate = ours["bytes"] / ours["seconds"]
    return [str(ours["launches"]), f"{rate / 1e9:.0f}", f"{rate / copy_bandwidth['cuda']:.0%}"]


def save(name: str, rows: list[dict], facts: dict) -> None:
    from benchmarks.figure import figure

    folder = ROOT / "results"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps({**facts, "rows": rows}, indent=1) + "\n")
    (folder / f"{name}.svg").write_text(figure(rows, facts))
    print(f"\n{folder / name}.json\n{folder / name}.svg", file=sys.stderr)


def circumstances(requirements: str = PEERS) -> dict:
    """Where and with what the numbers were measured; requirements names the file of the libraries compared with."""
    import torch

    from benchmarks.memory import copy_bandwidth
    from medadv.ops import build_info

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()

    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "",
    )
    cuda = torch.cuda.is_available()
    torch.set_num_threads(1)
    return {
        "commit": git("rev-parse", "HEAD"),
        "changed": bool(git("status", "--porcelain", "--untracked-files=no")),
        "cpu": cpu,
        "gpu": torch.cuda.get_device_name() if cuda else None,
        "clock": "processor time for one thread on the CPU, else wall time",
        "copy_bandwidth": {device: copy_bandwidth(device) for device in ("cpu", *(["cuda"] if cuda else []))},
        "python": platform.python_version(),
        "peers": versions(requirements),
        **build_info(),
    }


def versions(requirements: str) -> dict[str, str]:
    """Of the libraries of a file that are installed."""
    from importlib import metadata

    lines = (ROOT / requirements).read_text().splitlines()
    found = {}
    for name in (line.split()[0] for line in lines if line[:1].isalpha()):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    main()
