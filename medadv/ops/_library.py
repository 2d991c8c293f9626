"""Loads the compiled operators as ``torch.ops.medadv``.

The CUDA library is loaded only where torch itself has CUDA: it is linked against torch's CUDA runtime.
"""

from __future__ import annotations

from pathlib import Path

import torch

_LIBRARIES = Path(__file__).parents[1] / "lib"


def _load() -> bool:
    cpu, cuda = _LIBRARIES / "libmedadv.so", _LIBRARIES / "libmedadv_cuda.so"
    if not cpu.exists():
        raise ImportError("medadv's compiled operators were not found: install the package (pip install -e .) first")
    torch.ops.load_library(cpu)
    if torch.version.cuda is None or not cuda.exists():
        return False
    torch.ops.load_library(cuda)
    return True


cuda_loaded = _load()
