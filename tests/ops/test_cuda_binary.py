"""What the CUDA compiler made of the kernels; needs the library and cuobjdump, but no GPU."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import medadv
from medadv import _core

LIBRARY = Path(medadv.__file__).parent / "lib/libmedadv_cuda.so"


def _cuobjdump():
    packaged = sorted(Path(sys.prefix).glob("lib/python*/site-packages/nvidia/cu*/bin/cuobjdump"))
    for path in packaged:
        path.chmod(0o755)  # the package comes without the execute bit
    return shutil.which("cuobjdump") or next(map(str, packaged), None)


CUOBJDUMP = _cuobjdump()
pytestmark = pytest.mark.skipif(not (LIBRARY.exists() and CUOBJDUMP), reason="no CUDA library, or no cuobjdump")

# Registers per thread, at most: 65536 over the threads that shall share a multiprocessor.
MAX_REGISTERS = {
    "tile_forward_kernel": 128,
    "tile_backward_kernel": 128,
    "gather_kernel": 128,
    "for_each_kernel": 128,
    "tile_warp_kernel": 255,
    "lattice_gradient_kernel": 128,
    "energy_kernel": 128,
    "polynomial_forward_kernel": 255,
    "polynomial_still_backward_kernel": 128,
    "polynomial_moved_backward_kernel": 255,
    "flow_gather_kernel": 255,
    "gather_term_kernel": 64,
    "sum_kernel": 64,
}


def dump(*args):
    return subprocess.run([CUOBJDUMP, *args, LIBRARY], check=True, capture_output=True, text=True).stdout


def usage():
    """(architecture, kernel, resource -> amount) of every kernel in the library."""
    architecture = kernel = None
    for line in dump("--dump-resource-usage").splitlines():
        if match := re.search(r"arch = (sm_\w+)", line):
            architecture = match[1]
        if match := re.search(r"Function (\S+):", line):
            kernel = match[1]
        elif "REG:" in line:
            yield architecture, kernel, {k: int(v) for k, v in re.findall(r"([A-Z]+):(\d+)", line)}


def test_kernels_fit_their_budgets_and_spill_nothing():
    seen = list(usage())
    names = {next(name for name in MAX_REGISTERS if name in kernel) for _, kernel, _ in seen}
    assert names == set(MAX_REGISTERS)
    for architecture, kernel, used in seen:
        budget = next(limit for name, limit in MAX_REGISTERS.items() if name in kernel)
        assert used["REG"] <= budget, (architecture, kernel, used)
        assert used["LOCAL"] == 0, (architecture, kernel, used)
        assert used["STACK"] == 0, (architecture, kernel, used)
        assert used["SHARED"] <= 48 * 1024, (architecture, kernel, used)


def test_every_architecture_of_the_build_is_in_the_library():
    built = {f"sm_{a.removesuffix('-real')}" for a in _core.cuda_architectures.split()}
    assert built
    assert built <= set(re.findall(r"sm_\d+", dump("-lelf")))


def test_nothing_divides_in_64_bits():
    assert not re.findall(r"__cuda_sm\d+_(?:div|rem)_[su]64", dump("-elf"))
