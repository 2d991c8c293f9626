"""Victims, tasks, safe loading of models, and small reference networks; each is imported when first asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medadv.models.bpda import BPDA
    from medadv.models.checkpoint import UntrustedFile, load_weights
    from medadv.models.dense_network import DenseNetwork
    from medadv.models.fingerprint import model_sha256
    from medadv.models.mobile_network import MobileNetwork
    from medadv.models.randomised import RandomisedVictim
    from medadv.models.residual_network import ResidualNetwork
    from medadv.models.source import load_model, load_victim
    from medadv.models.task import Binary, Multiclass, Multilabel, NoSuchClassError, Task
    from medadv.models.victim import Victim

_HOMES = {
    "BPDA": "bpda",
    "Binary": "task",
    "DenseNetwork": "dense_network",
    "MobileNetwork": "mobile_network",
    "Multiclass": "task",
    "Multilabel": "task",
    "NoSuchClassError": "task",
    "RandomisedVictim": "randomised",
    "ResidualNetwork": "residual_network",
    "Task": "task",
    "UntrustedFile": "checkpoint",
    "Victim": "victim",
    "load_model": "source",
    "load_victim": "source",
    "load_weights": "checkpoint",
    "model_sha256": "fingerprint",
}

__all__ = [
    "BPDA",
    "Binary",
    "DenseNetwork",
    "MobileNetwork",
    "Multiclass",
    "Multilabel",
    "NoSuchClassError",
    "RandomisedVictim",
    "ResidualNetwork",
    "Task",
    "UntrustedFile",
    "Victim",
    "load_model",
    "load_victim",
    "load_weights",
    "model_sha256",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
