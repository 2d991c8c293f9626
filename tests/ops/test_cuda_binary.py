"""What the CUDA compiler made of the kernels; needs the library and cuobjdump, but no GPU."""

import re
from pathlib import Path

import pytest

from benchmarks import kernels
from benchmarks.kernels import dump, usage
from medadv import _core

pytestmark = pytest.mark.skipif(
    not (kernels.LIBRARY.exists() and kernels.cuobjdump()), reason="no CUDA library, or no cuobjdump"
)

# Registers per thread, at most: 65536 over the threads that shall share a multiprocessor.
MAX_REGISTERS = {
    "tile_forward_kernel": 128,
    "tile_backward_kernel": 128,
    "gather_kernel": 128,
    "for_each_kernel": 128,
    "tile_warp_kernel": 255,
    "tile_chain_kernel": 255,
    "tile_slopes_kernel": 255,
    "tile_slopes_sum_kernel": 255,
    "lattice_gradient_kernel": 128,
    "energy_kernel": 128,
    "polynomial_forward_kernel": 255,
    "polynomial_still_backward_kernel": 128,
    "polynomial_moved_backward_kernel": 255,
    "flow_gather_kernel": 255,
    "gather_term_kernel": 128,
    "sum_kernel": 64,
    "noise_kernel": 64,
    "row_parts_kernel": 64,
    "row_lengths_kernel": 64,
    "scaled_rows_kernel": 64,
    "unit_step_kernel": 64,
}


# Bytes of shared memory that the system keeps of every block. They are counted with the kernel's own, which ptxas holds
# to 48 KB.
RESERVED = {"sm_75": 0}


def budgeted(kernel):
    """The name above that a mangled name holds: the longest, as some names end like others."""
    return max((name for name in MAX_REGISTERS if name in kernel), key=len)


def test_kernels_fit_their_budgets_and_spill_nothing():
    seen = list(usage())
    names = {budgeted(kernel) for _, kernel, _ in seen}
    assert names == set(MAX_REGISTERS)
    for architecture, kernel, used in seen:
        budget = MAX_REGISTERS[budgeted(kernel)]
        assert used["REG"] <= budget, (architecture, kernel, used)
        assert used["LOCAL"] == 0, (architecture, kernel, used)
        assert used["STACK"] == 0, (architecture, kernel, used)
        assert used["SHARED"] <= 48 * 1024 + RESERVED.get(architecture, 1024), (architecture, kernel, used)


def test_every_architecture_of_the_build_is_in_the_library():
    built = {f"sm_{a.removesuffix('-real')}" for a in _core.cuda_architectures.split()}
    assert built
    assert built <= set(re.findall(r"sm_\d+", dump("-lelf")))


def test_nothing_divides_in_64_bits():
    assert not re.findall(r"__cuda_sm\d+_(?:div|rem)_[su]64", dump("-elf"))


def test_the_committed_table_is_of_these_kernels():
    """Its numbers too, where the compiler is the one that made it; `python -m benchmarks.kernels > docs/kernels.md`."""
    committed, now = (Path(__file__).parents[2] / "docs/kernels.md").read_text(), kernels.table()

    def names(text):
        return [line.split(" | ")[:2] for line in text.splitlines() if line.startswith("| `")]

    assert names(committed) == names(now)
    head = committed.index("| ---")  # the compiler's version and the architectures
    if committed[:head] == now[:head]:
        assert committed == now
