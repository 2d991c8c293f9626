"""Public libraries of attacks, each behind one call: network, images and targets to changed images.

A module per library, with a function `attack` that makes the attack of a case, or None where the library does not have
it. ``pip install -r benchmarks/requirements-attacks.txt``; a library that is not there is left out.
"""

from __future__ import annotations

import importlib
import importlib.util

from benchmarks.attack_cases import Attack, Case

# Name: our module about it, called as the library's package is.
LIBRARIES = {"torchattacks": "torchattacks", "foolbox": "foolbox", "ART": "art", "adv-lib": "adv_lib"}

# Those that show the changed images to the network themselves and say which of them fool it.
TELL_WHO_IS_FOOLED = ("foolbox",)


def attacks(case: Case) -> dict[str, Attack]:
    """The attacks of a case, by library, of those that are installed."""
    found = {}
    for name in LIBRARIES:
        made = attack(name, case)
        if made is not None:
            found[name] = made
    return found


def attack(name: str, case: Case) -> Attack | None:
    """The attack of one library; None where it is not installed, or does not have it.

    Raises:
        ModuleNotFoundError: the library is installed, and something that it needs is not.
    """
    package = LIBRARIES[name]
    if importlib.util.find_spec(package) is None:
        return None
    made: Attack | None = importlib.import_module(f"benchmarks.attack_peers.{package}").attack(case)
    return made
