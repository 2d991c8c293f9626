"""The identity of a model's weights, for provenance."""

from __future__ import annotations

import hashlib
import json

import torch
from torch import Tensor, nn


def model_sha256(module: nn.Module) -> str:
    """SHA-256 over the sorted names, dtypes, shapes and bytes of the state dict.

    The same weights give the same hash on every device and however they were saved; the code of the model and
    buffers that are not part of its state dict do not count.

    Raises:
        TypeError: the state dict holds something that is not a dense tensor.

    >>> model_sha256(nn.Identity()) == hashlib.sha256().hexdigest()
    True
    """
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_quantized:
            raise TypeError(f"module: state dict entry {name!r} must be a dense tensor, got {type(value).__name__}")
        tensor = value.detach().cpu()
        # The header is JSON on one line, so no name or shape can be mistaken for another.
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode() + b"\n")
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
