"""How the program keeps the memory that it has been given."""

from __future__ import annotations

import ctypes
import os
import platform

# Numbers of mallopt(3), and what glibc's own rule goes up to for blocks that are taken from the heap.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_FROM_HEAP = 32 << 20
_NEVER = 2**31 - 1

_OF_THE_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_memory() -> None:
    """Keep freed memory for the next tensors instead of giving it back to Linux.

    glibc gives the end of its heap back as soon as a few megabytes are free there, and Linux hands it out anew, filled
    with zeros: a small network frees and asks for its activations in every pass. Kept, an evaluation of the demo's
    network took a fifth of the page faults and about a tenth less processor time, and up to a twelfth more memory. What
    the user has set in the environment stands.
    """
    if platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in _OF_THE_USER):
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_THRESHOLD, _LARGEST_FROM_HEAP)
    libc.mallopt(_TRIM_THRESHOLD, _NEVER)
