"""How torch's threads wait for each other."""

from __future__ import annotations

import os


def share_the_cores() -> None:
    """Let waiting threads sleep; to be called before torch is imported.

    By default they spin, and where other programs use the cores too, a thread that waits for a sleeping neighbour
    spins for a whole time slice: training a small network with two threads on two busy cores then took 8 times as long
    as with one thread, and as long as with one when they sleep. What the user has set in the environment stands.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
