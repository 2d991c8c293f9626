import ctypes
import os
import platform
import subprocess
import sys

import pytest

from medadv.cli.memory import keep_memory

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")

# Six blocks of 2 MB at a time, as a small network's activations; the pages that Linux had to hand out after the first.
PROGRAM = """
import resource
import numpy as np
from medadv.cli.memory import keep_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if {keep}:
    keep_memory()
for number in range(21):
    if number == 1:
        before = faults()
    blocks = [np.full(1 << 18, 1.0) for _ in range(6)]
    del blocks
print(faults() - before)
"""
OWN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def pages(keep, **environment):
    clean = {name: value for name, value in os.environ.items() if name not in OWN}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(keep=keep)],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(run.stdout)


def test_freed_memory_is_used_again():
    given_back, kept = pages(keep=False), pages(keep=True)
    assert given_back > 20 * 512
    assert kept < 512


@pytest.mark.parametrize("name", OWN)
def test_what_the_user_has_set_stands(monkeypatch, name):
    called = []
    monkeypatch.setattr(ctypes, "CDLL", lambda path: called.append(path))
    monkeypatch.setenv(name, "4096")
    keep_memory()
    assert not called
