"""Arrays between two pages that may not be touched: a read or a write past either end kills the process."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import traceback

import numpy as np

CAN_GUARD = sys.platform == "linux"


def guarded(array, *, at_end):
    """A copy of an array that ends where a page without access begins, or starts where one ends."""
    page = mmap.PAGESIZE
    inside = max(1, -(-array.nbytes // page)) * page
    memory = mmap.mmap(-1, inside + 2 * page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    for at in (address, address + page + inside):
        if libc.mprotect(ctypes.c_void_p(at), ctypes.c_size_t(page), 0):  # PROT_NONE
            raise OSError(ctypes.get_errno(), "mprotect")
    offset = page + (inside - array.nbytes if at_end else 0)
    copy = np.frombuffer(memory, array.dtype, array.size, offset).reshape(array.shape)
    copy[...] = array
    return copy


def survives(run):
    """Whether run() comes to its end in a child of this process. Nothing of OpenMP or autograd may be in it."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            run()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0
