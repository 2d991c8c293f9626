"""A hash of all that an object holds, so that it is told from another of the same kind."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from enum import Enum
from functools import partial
from pathlib import PurePath
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))
_NAMED = (torch.dtype, torch.device, torch.layout, np.dtype, PurePath, range)
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))  # its parameters and buffers are read by name


def fingerprint(value: Any) -> str:
    """SHA-256 of an object: the name of its class, and the content of all that it holds, however deep.

    Numbers, texts, tensors, arrays, modules, containers, functions with what they close over, and objects of these. Of
    tensors type, shape and numbers count, the device does not; nor does the code of classes, or what is global.

    Args:
        value: the object.

    Returns:
        64 hexadecimal digits.

    Raises:
        TypeError: something that it holds cannot be read, such as an open file.

    >>> fingerprint({"mean": torch.zeros(2)}) == fingerprint({"mean": torch.zeros(2)})
    True
    >>> fingerprint({"mean": torch.zeros(2)}) == fingerprint({"mean": torch.ones(2)})
    False
    """
    reader = _Reader()
    reader.read(value, type(value).__name__)
    return reader.digest.hexdigest()


class _Reader:
    """Writes an object to a hash, each part with its length before it, so that no two objects give the same bytes."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self._inside: list[int] = []  # ids of the objects that are being read, the outermost first

    def read(self, value: Any, name: str) -> None:
        if isinstance(value, _PLAIN):
            self._write(type(value).__name__, struct.pack("<d", value) if isinstance(value, float) else repr(value))
        elif isinstance(value, _NAMED):
            self._write(type(value).__name__, str(value))
        elif isinstance(value, type | BuiltinFunctionType):
            self._write("name", str(value.__qualname__))
        elif id(value) in self._inside:
            self._write("around", str(self._inside.index(id(value))))
        else:
            self._inside.append(id(value))
            self._read_content(value, name)
            self._inside.pop()

    def _read_content(self, value: Any, name: str) -> None:
        kind = type(value).__qualname__
        if isinstance(value, Tensor):
            self._write("tensor", str(value.dtype), repr(tuple(value.shape)), _bytes(value, name))
        elif isinstance(value, np.ndarray | np.generic) and value.dtype != object:
            self._write("array", str(value.dtype), repr(value.shape), value.tobytes())
        elif isinstance(value, np.ndarray):
            self._read_items(f"objects {value.shape}", _numbered(value.reshape(-1)), name)
        elif isinstance(value, list | tuple):
            self._read_items(kind, _numbered(value), name)
        elif isinstance(value, dict):
            self._read_items(kind, [(f"[{key!r}]", (key, item)) for key, item in value.items()], name)
        elif isinstance(value, set | frozenset):
            self._write(kind, *sorted(fingerprint(item) for item in value))
        elif isinstance(value, Enum):
            self._write("enum", kind, value.name)
        elif isinstance(value, FunctionType | MethodType | CodeType | partial):
            self._read_items(kind, list(_of_a_function(value).items()), name)
        else:
            self._read_items(kind, sorted(_held_by(value, name).items()), name)

    def _read_items(self, kind: str, items: list[tuple[str, Any]], name: str) -> None:
        self._write(kind, str(len(items)))
        for label, item in items:
            self._write(label)
            self.read(item, f"{name}{label if label.startswith('[') else f'.{label}'}")

    def _write(self, *parts: str | bytes) -> None:
        for part in parts:
            raw = part.encode() if isinstance(part, str) else part
            self.digest.update(struct.pack("<q", len(raw)) + raw)


def _numbered(items: Iterable[Any]) -> list[tuple[str, Any]]:
    return [(f"[{index}]", item) for index, item in enumerate(items)]


def _bytes(tensor: Tensor, name: str) -> bytes:
    if tensor.layout != torch.strided or tensor.is_quantized:
        raise TypeError(f"{name} must be a dense tensor to be told from another, got one that is not.")
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    return plain.reshape(-1).view(torch.uint8).numpy().tobytes()


def _of_a_function(function: Any) -> dict[str, Any]:
    """What decides the answers of a function."""
    if isinstance(function, CodeType):
        return {"code": function.co_code, "constants": function.co_consts, "names": function.co_names}
    if isinstance(function, partial):
        return {"function": function.func, "arguments": function.args, "named": function.keywords}
    if isinstance(function, MethodType):
        return {"name": function.__func__.__qualname__, "of": function.__self__}
    closed_over = [cell.cell_contents for cell in function.__closure__ or () if cell != CellType()]
    defaults = function.__defaults__, function.__kwdefaults__
    return {"code": function.__code__, "defaults": defaults, "closed over": closed_over}


def _held_by(value: Any, name: str) -> dict[str, Any]:
    """The attributes of an object, and the numbers and texts that its classes hold for all of their objects."""
    kinds = [kind for kind in reversed(type(value).__mro__) if kind is not object]
    shared = {
        label: item
        for kind in kinds
        for label, item in vars(kind).items()
        if isinstance(item, (*_PLAIN, Tensor, np.ndarray)) and not label.startswith("__")
    }
    slots = [label for kind in kinds for label in _slots(kind) if hasattr(value, label)]
    if not hasattr(value, "__dict__") and not slots:
        raise TypeError(f"{name} must be something that can be told from another, got {type(value).__name__}.")
    own = {**getattr(value, "__dict__", {}), **{label: getattr(value, label) for label in slots}}
    if isinstance(value, nn.Module):
        own = {label: item for label, item in own.items() if label not in _OF_EVERY_MODULE}
        own |= {**dict(value.named_parameters(recurse=False)), **dict(value.named_buffers(recurse=False))}
        own |= dict(value.named_children())
    return {**shared, **own}


def _slots(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    named = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(label for label in named if label not in ("__dict__", "__weakref__"))
