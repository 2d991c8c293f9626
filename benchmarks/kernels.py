"""What the CUDA compiler made of every kernel: ``python -m benchmarks.kernels > docs/kernels.md``.

It needs a library built with CUDA, cuobjdump (pip has it as nvidia-cuda-cuobjdump) and c++filt, but no GPU.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import medadv
from medadv import _core

LIBRARY = Path(medadv.__file__).parent / "lib/libmedadv_cuda.so"
ENUMERATORS = {
    "DenseEnergy": ("membrane", "total_variation", "bending"),
    "Interpolation": ("nearest", "linear", "cubic"),
    "RowNorm": ("linf", "l1", "l2"),
}
STORAGE = r"(double|float|__half|__nv_bfloat16|(signed |unsigned )?(char|short|int|long))"
HEAD = """# CUDA kernels

Registers per thread on every architecture, the most over the types that an image may be stored in; bytes of static
shared memory per block; bytes that a thread spills to local memory or keeps on its stack. Compiled by nvcc {version}.
Written by `python -m benchmarks.kernels > docs/kernels.md`, and held to the library by `tests/ops/test_cuda_binary.py`.
"""


def cuobjdump() -> str | None:
    """The tool, from the path or from its package."""
    packaged = sorted(Path(sys.prefix).glob("lib/python*/site-packages/nvidia/cu*/bin/cuobjdump"))
    for path in packaged:
        path.chmod(0o755)  # the package comes without the execute bit
    return shutil.which("cuobjdump") or next(map(str, packaged), None)


def dump(*args: str) -> str:
    """What cuobjdump says of the library."""
    tool = cuobjdump()
    if tool is None or not LIBRARY.exists():
        raise SystemExit("there is no cuobjdump, or no library built with CUDA")
    return subprocess.run([tool, *args, LIBRARY], check=True, capture_output=True, text=True).stdout


def usage() -> Iterator[tuple[str, str, dict[str, int]]]:
    """(architecture, mangled kernel, resource -> amount) of every kernel in the library."""
    architecture = kernel = ""
    for line in dump("--dump-resource-usage").splitlines():
        if match := re.search(r"arch = (sm_\w+)", line):
            architecture = match[1]
        if match := re.search(r"Function (\S+):", line):
            kernel = match[1]
        elif "REG:" in line:
            yield architecture, kernel, {k: int(v) for k, v in re.findall(r"([A-Z]+):(\d+)", line)}


def demangled(names: list[str]) -> list[str]:
    output = subprocess.run(["c++filt"], input="\n".join(names), check=True, capture_output=True, text=True).stdout
    return output.splitlines()


def readable(name: str) -> tuple[str, str]:
    """(kernel with its functor, types that it works on) of a demangled instantiation."""
    name = re.sub(r"\(anonymous namespace\)::|\b(medadv|cuda)::|^void ", "", name)
    for kind, words in ENUMERATORS.items():
        name = re.sub(rf"\({kind}\)(\d+)", lambda m, words=words: words[int(m[1])], name)
    template = name[: _end_of_template(name)]
    widest = "float64" if "double" in template else "up to float32" if re.search(STORAGE, template) else ""
    template = re.sub(rf"\b{STORAGE}\b(, )?", "", template)
    return re.sub(r"[, ]+(?=>)|<>", "", template), widest


def _end_of_template(name: str) -> int:
    """Where the arguments of the function begin."""
    depth = 0
    for at, letter in enumerate(name):
        depth += (letter == "<") - (letter == ">")
        if letter == "(" and depth == 0:
            return at
    return len(name)


def rows() -> dict[tuple[str, str], dict[str, dict[str, int]]]:
    """(kernel, types) -> architecture -> resource -> the most that an instantiation takes."""
    seen = list(usage())
    mangled = sorted({kernel for _, kernel, _ in seen})
    names = dict(zip(mangled, map(readable, demangled(mangled)), strict=True))
    found: dict[tuple[str, str], dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    for architecture, kernel, used in seen:
        most = found[names[kernel]][architecture]
        for resource, amount in used.items():
            most[resource] = max(amount, most.get(resource, 0))
    return dict(sorted(found.items()))


def table() -> str:
    """The document."""
    found = rows()
    architectures = sorted({a for row in found.values() for a in row}, key=lambda a: int(re.sub(r"\D", "", a)))
    lines = [
        f"| kernel | types | {' | '.join(architectures)} | shared | spilled |",
        "| --- " * (4 + len(architectures)) + "|",
    ]
    for (kernel, types), row in found.items():
        registers = [str(row[a]["REG"]) if a in row else "" for a in architectures]
        shared = max(used["SHARED"] for used in row.values())
        spilled = max(used["LOCAL"] + used["STACK"] for used in row.values())
        lines.append(f"| `{kernel}` | {types} | {' | '.join(registers)} | {shared} | {spilled} |")
    return HEAD.format(version=_core.cuda_version) + "\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
