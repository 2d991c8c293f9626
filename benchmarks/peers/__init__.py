"""Public libraries that compute what we compute, each behind the interface of our operators.

A module per library, with a function per operation: it takes the tensors (and settings) of a case, prepares what does
not depend on their values, and returns what is timed, a function of the tensors. Where a library computes exactly what
we do, tests/ops/test_peers.py holds it to that; where it has only something near, its docstring says what, and the
table marks the operation with ~.

``pip install -r benchmarks/requirements-peers.txt``; a library that is not there is skipped, visibly.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest


@dataclass(frozen=True)
class Peer:
    """A library: the module to import, our module about it, and which of our operations it has."""

    library: str
    module: str
    same: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    gradients: bool = False  # to all that we have gradients to


PEERS = {
    "deepali": Peer(
        "deepali.core",
        "deepali",
        same=("warp linear",),
        near=(
            *("bias_field", "spline_warp linear", "spline_warp nearest"),
            *("membrane_energy", "total_variation", "bending_energy", "folding_penalty"),
        ),
        gradients=True,
    ),
    "elasticdeform": Peer(
        "elasticdeform", "elasticdeform", near=("spline_warp linear", "spline_warp nearest", "spline_warp cubic")
    ),
    "MONAI": Peer(
        "monai",
        "monai",
        same=("warp linear",),
        near=("gaussian_blur", "membrane_energy", "bending_energy"),
        gradients=True,
    ),
    # Its random transforms work on NumPy arrays, one image at a time, and have no gradients.
    "MONAI transforms": Peer("monai", "monai_transforms", near=("bias_field", "spline_warp linear")),
    "SciPy": Peer(
        "scipy",
        "scipy",
        same=("bias_field", "spline_warp linear", "warp linear", "gaussian_blur"),
        near=("spline_warp nearest", "spline_warp cubic"),
    ),
    "SimpleITK": Peer(
        "SimpleITK",
        "simpleitk",
        same=("spline_warp linear", "warp linear"),
        near=("spline_warp nearest", "spline_warp cubic", "gaussian_blur"),
    ),
    "torch-interpol": Peer(
        "interpol",
        "torch_interpol",
        same=("bias_field", "spline_warp linear", "warp linear"),
        near=("spline_warp nearest", "spline_warp cubic"),
        gradients=True,
    ),
    "TorchIO": Peer("torchio", "torchio", near=("bias_field", "spline_warp linear", "gaussian_blur")),
}


def names(operation: str, *, gradients: bool = False) -> list[str]:
    """The peers that have an operation, installed or not."""
    return [
        name
        for name, peer in PEERS.items()
        if operation in (*peer.same, *peer.near) and (peer.gradients or not gradients)
    ]


def exact(operation: str) -> list[str]:
    """The peers whose numbers are ours."""
    return [name for name, peer in PEERS.items() if operation in peer.same]


def make(name: str, operation: str, *case: Any) -> Callable[..., Any]:
    """What a peer runs for a case; skips the test where the library is not installed."""
    peer = PEERS[name]
    pytest.importorskip(peer.library, reason=f"{name} is not installed: benchmarks/requirements-peers.txt")
    function, *interpolation = operation.split()
    return getattr(importlib.import_module(f"benchmarks.peers.{peer.module}"), function)(*case, *interpolation)
