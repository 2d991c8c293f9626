"""What one call takes beyond its inputs and results: memory, and on a GPU launches."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile


def tensors(result: Any) -> list[torch.Tensor]:
    """The tensors of a result, which is one or a tuple of them."""
    return [t for t in (result if isinstance(result, tuple) else (result,)) if isinstance(t, torch.Tensor)]


def scratch_bytes(run: Callable[[], Any], device: str) -> tuple[Any, int | None]:
    """The result of run(), and the peak of memory while it ran, less what was there before and less its result.

    On the CPU that is resident memory as the kernel counts it, whoever allocated it (None where there is no /proc);
    on a GPU what torch's allocator gave out. A result that was not new memory (that of a copy into a buffer) counts as
    nothing.
    """
    result, grown = _cuda_peak(run) if device == "cuda" else _resident_peak(run)
    if grown is None:
        return result, None
    return result, max(0, grown - sum(t.untyped_storage().nbytes() for t in tensors(result)))


def _cuda_peak(run: Callable[[], Any]) -> tuple[Any, int]:
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    result = run()
    torch.cuda.synchronize()
    return result, torch.cuda.max_memory_allocated() - before


def _resident_peak(run: Callable[[], Any]) -> tuple[Any, int | None]:
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        return run(), None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # freed memory that is kept for later would hide what the call asks for
    before = _resident("VmRSS")
    reset.write_text("5")  # forget the peak so far
    result = run()
    return result, _resident("VmHWM") - before


def _resident(what: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))


def launches(run: Callable[[], Any]) -> int:
    """Kernels that one call launches."""
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as recorded:
        run()
        torch.cuda.synchronize()
    return sum(event.count for event in recorded.key_averages() if "LaunchKernel" in event.key)


def copy_bandwidth(device: str, megabytes: int = 256) -> float:
    """Bytes per second, read and written, of a copy that no cache holds."""
    source = torch.ones(megabytes << 20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(10):
        start = time.perf_counter()
        target.copy_(source)
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * source.nbytes / best
