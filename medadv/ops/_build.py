"""What this build can run on."""

from __future__ import annotations

import torch

from medadv import _core
from medadv.ops._library import cuda_loaded


def build_info() -> dict[str, str | bool]:
    """Facts about the compiled operators, for a bug report or a result's provenance.

    Returns:
        The torch in use; the compiler; which clone of the CPU kernels runs here; the CUDA compiler and the
        architectures built for (empty where it was built without); and whether the CUDA kernels are loaded.

    Example:
        >>> sorted(build_info())
        ['compiler', 'cuda_architectures', 'cuda_compiler', 'cuda_loaded', 'instruction_set', 'torch']
    """
    return {
        "torch": torch.__version__,
        "compiler": _core.compiler,
        "instruction_set": _core.instruction_set(),
        "cuda_compiler": _core.cuda_version,
        "cuda_architectures": _core.cuda_architectures,
        "cuda_loaded": cuda_loaded,
    }
