"""Weights from a file that nobody vouches for.

A .pt file is a pickle, a program. This module reads two kinds of files: safetensors, and the zip archive that
`torch.save(model.state_dict(), path)` writes, and the latter only after these checks, all before any tensor
is made:

1. The zip: one top folder, known member names, stored (not compressed), nothing larger than the file.
2. The pickle: opcodes from a list, globals from a list, no argument that makes a parser take memory.
3. The tensors it describes: rebuilt as plain records, each dense, within a storage of exactly the declared
size.

Then `torch.load(weights_only=True, mmap=False)` reads it, and what it returns must be what the records said.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

MAX_BYTES = 2**34
MAX_PICKLE_BYTES = 2**24
MAX_MEMBERS = 200_000
# The header of a safetensors file: its length as uint64, then JSON. The format allows 100 MB.
SAFETENSORS_LENGTH_BYTES = 8
SAFETENSORS_MAX_HEADER = 100_000_000
ZIP_SIGNATURE = b"PK\x03\x04"
ZIP_END_SIGNATURE, ZIP_END_BYTES = b"PK\x05\x06", 22
# One level of nesting is read, under one of these names.
NESTED_UNDER = ("state_dict", "model_state_dict", "model")
DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
# What torch.save writes for a state dict (pickle protocol 2). BUILD sets OrderedDict._metadata.
# fmt: off
OPCODES = frozenset({
    "PROTO", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT",
    "BINUNICODE", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "APPEND", "APPENDS",
    "EMPTY_DICT", "SETITEM", "SETITEMS", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "GLOBAL", "REDUCE",
    "BINPERSID", "BUILD",
})
# fmt: on
CONVERT = (
    "; only tensors are read, never code, so convert it where you trust it: "
    "torch.save(model.state_dict(), 'weights.pt') or safetensors.torch.save_file(model.state_dict(), ...)"
)


class UntrustedFile(ValueError):  # noqa: N818 - a kind of file, named as people say it
    """A weights file that is refused because reading it could run code, exhaust memory, or mislead."""


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a weights file without running code from it.

    The kind of file is told by its content. A .pt file must hold a flat dictionary from names to tensors, or
    that dictionary one level down under "state_dict", "model_state_dict" or "model", where the entries beside
    it may only be numbers, strings, booleans or None (an optimiser's state is refused: save the weights
    alone).

    Args:
        path: safetensors, or the zip archive of torch.save.

    Returns:
        Dense CPU tensors by name.

    Raises:
        ValueError: there is no such file.
        UntrustedFile: anything else than a whole, plain weights file; the sentence says how to convert.

    >>> load_weights(Path("no-such-file.pt"))
    Traceback (most recent call last):
    ValueError: weights: no file no-such-file.pt
    """
    if not path.is_file():
        raise ValueError(f"weights: no file {path}")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UntrustedFile(f"larger than {MAX_BYTES} bytes")
        data = path.read_bytes()
        return _load_zip(data) if data.startswith(ZIP_SIGNATURE) else _load_safetensors(data)
    except UntrustedFile as error:
        raise UntrustedFile(f"{path}: {error}{CONVERT}") from None


def _load_safetensors(data: bytes) -> dict[str, Tensor]:
    header = int.from_bytes(data[:SAFETENSORS_LENGTH_BYTES], "little")
    json_start = data[SAFETENSORS_LENGTH_BYTES : SAFETENSORS_LENGTH_BYTES + 1]
    if json_start != b"{" or header > min(SAFETENSORS_MAX_HEADER, len(data) - SAFETENSORS_LENGTH_BYTES):
        raise UntrustedFile(_foreign(data))
    try:
        return safetensors.torch.load(data)
    except Exception as error:  # safetensors' own error type, and KeyError for a dtype torch does not have
        raise UntrustedFile(f"a damaged safetensors file ({_first_line(error)})") from None


def _foreign(data: bytes) -> str:
    if data[:1] == b"\x80" or data[257:262] == b"ustar":
        return "a pickle (a whole module, or a checkpoint of torch before 1.6), which can run code when loaded"
    if not data:
        return "an empty file"
    return "neither a safetensors file nor a zip archive of torch.save"


def _load_zip(data: bytes) -> dict[str, Tensor]:
    records, holder = _described(data)
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True, mmap=False)
    except Exception as error:  # whatever torch raises on an archive that passed the checks and still is damaged
        raise UntrustedFile(f"torch cannot read it ({_first_line(error)})") from None
    tensors = content.get(holder) if holder is not None and isinstance(content, dict) else content
    if not isinstance(tensors, dict):
        raise UntrustedFile("torch reads something else than the dictionary that the file describes")
    loaded: dict[str, Tensor] = {}
    for name, record in records.items():
        tensor = tensors.get(name)
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.is_quantized:
            raise UntrustedFile(f"entry {name!r} is not a dense tensor")
        if (tensor.dtype, tuple(tensor.shape), tensor.stride()) != (record.dtype, record.size, record.stride):
            raise UntrustedFile(f"entry {name!r} is not the tensor that the file describes")
        loaded[name] = tensor.detach()
    return loaded


def _described(data: bytes) -> tuple[dict[str, TensorRecord], str | None]:
    """The tensors that a checked archive describes, and the key they are nested under."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            sizes = _member_sizes(data, archive)
            program = archive.read(_top(archive) + "/data.pkl")
    except UntrustedFile:
        raise
    except Exception as error:  # zipfile raises eight kinds of errors on damaged archives
        raise UntrustedFile(f"a damaged zip archive ({_first_line(error)})") from None
    _check_program(program)
    try:
        content = _RecordUnpickler(io.BytesIO(program), sizes).load()
    except UntrustedFile:
        raise
    except Exception as error:  # a malformed pickle can raise almost anything
        raise UntrustedFile(f"a malformed pickle ({_first_line(error)})") from None
    return _state_dict(content)


def _top(archive: zipfile.ZipFile) -> str:
    return archive.namelist()[0].split("/", 1)[0]


def _member_sizes(data: bytes, archive: zipfile.ZipFile) -> dict[str, int]:
    """Check the archive's directory; sizes in bytes by member name without the top folder."""
    end = data[-ZIP_END_BYTES:]
    if not end.startswith(ZIP_END_SIGNATURE):
        # A trailing comment could hold a second directory that another zip reader would follow.
        raise UntrustedFile("a zip archive with bytes after its directory")
    members = archive.infolist()
    names = [member.filename for member in members]
    if any(name.endswith(("/constants.pkl", "/archive_format")) or "/code/" in name for name in names):
        raise UntrustedFile("a TorchScript or .pt2 program, which can run code when loaded")
    if not 0 < len(members) <= MAX_MEMBERS or len(set(names)) != len(names):
        raise UntrustedFile("a zip archive with no, too many or repeated members")
    sizes: dict[str, int] = {}
    for member in members:
        top, _, name = member.filename.partition("/")
        if top != _top(archive) or top in ("", ".", "..") or not _expected(name):
            raise UntrustedFile(f"an unexpected member {member.filename[:80]!r} in the archive")
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise UntrustedFile(f"a compressed member {member.filename[:80]!r}, which torch.save never writes")
        sizes[name] = member.file_size
    if sum(sizes.values()) > len(data):
        raise UntrustedFile("a zip archive whose members are larger than the file")
    if not 0 < sizes.get("data.pkl", 0) <= MAX_PICKLE_BYTES:
        raise UntrustedFile("a zip archive without a data.pkl of reasonable size")
    return sizes


def _expected(name: str) -> bool:
    if name in ("data.pkl", "byteorder", "version", ".format_version", ".storage_alignment"):
        return True
    return name == ".data/serialization_id" or (name.startswith("data/") and name[5:].isascii() and name[5:].isdigit())


def _check_program(program: bytes) -> None:
    try:
        for opcode, argument, _ in pickletools.genops(program):
            if opcode.name not in OPCODES:
                raise UntrustedFile(f"a pickle with opcode {opcode.name}, which weights do not need")
            if opcode.name == "GLOBAL" and tuple(str(argument).split(" ", 1)) not in _GLOBALS:
                raise UntrustedFile(f"a pickle that asks for {str(argument)[:80].replace(' ', '.')}")
            if opcode.name == "LONG_BINPUT" and isinstance(argument, int) and argument > len(program):
                raise UntrustedFile("a pickle with a memo index beyond its own length")
    except UntrustedFile:
        raise
    except Exception as error:  # pickletools raises ValueError mostly, other types on odd bytes
        raise UntrustedFile(f"a malformed pickle ({_first_line(error)})") from None


@dataclass(frozen=True)
class StorageRecord:
    key: str
    dtype: torch.dtype
    count: int


@dataclass(frozen=True)
class TensorRecord:
    dtype: torch.dtype
    size: tuple[int, ...]
    stride: tuple[int, ...]


def _tensor_record(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, metadata: Any = None
) -> TensorRecord:
    """Stands in for torch._utils._rebuild_tensor_v2."""
    if not isinstance(storage, StorageRecord) or not isinstance(requires_grad, bool) or hooks or metadata:
        raise UntrustedFile("a tensor with hooks or metadata")
    if not isinstance(size, tuple) or not isinstance(stride, tuple) or len(size) != len(stride):
        raise UntrustedFile("a tensor whose size and stride do not match")
    if any(type(number) is not int or number < 0 for number in (offset, *size, *stride)):
        raise UntrustedFile("a tensor whose size, stride or offset is not a natural number")
    elements = 1
    for length in size:
        elements *= length
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if elements and (elements > storage.count or last >= storage.count):
        raise UntrustedFile(f"a tensor of {elements} elements over a storage of {storage.count}")
    return TensorRecord(storage.dtype, size, stride)


def _parameter_record(tensor: Any, requires_grad: Any, hooks: Any) -> TensorRecord:
    """Stands in for torch._utils._rebuild_parameter."""
    if not isinstance(tensor, TensorRecord) or not isinstance(requires_grad, bool) or hooks:
        raise UntrustedFile("a parameter with hooks, or that is not a tensor")
    return tensor


def _size(sizes: Any) -> tuple[Any, ...]:
    """Stands in for torch.Size."""
    return tuple(sizes)


_GLOBALS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): _size,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor_record,
    ("torch._utils", "_rebuild_parameter"): _parameter_record,
    **{("torch", name): dtype for name, dtype in DTYPES.items()},
}


class _RecordUnpickler(pickle.Unpickler):
    """Runs a checked pickle with every torch name replaced by a function of this file that only makes records."""

    def __init__(self, stream: io.BytesIO, sizes: dict[str, int]) -> None:
        super().__init__(stream)
        self._sizes = sizes

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _GLOBALS:
            raise UntrustedFile(f"a pickle that asks for {module}.{name}")
        return _GLOBALS[module, name]

    def persistent_load(self, identifier: Any) -> StorageRecord:
        kind, dtype, key, _, count = identifier
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not isinstance(key, str):
            raise UntrustedFile("a reference that is not a storage")
        if type(count) is not int or self._sizes.get(f"data/{key}") != count * dtype.itemsize:
            raise UntrustedFile(f"a storage {key[:20]!r} whose declared size is not the size in the archive")
        return StorageRecord(key, dtype, count)


def _state_dict(content: Any) -> tuple[dict[str, TensorRecord], str | None]:
    holder = None
    if isinstance(content, dict):
        holder = next((key for key in NESTED_UNDER if isinstance(content.get(key), dict)), None)
    if holder is not None:
        for name, value in content.items():
            if name != holder and not isinstance(value, (str, int, float, type(None))):
                raise UntrustedFile(f"a checkpoint whose entry {str(name)[:80]!r} is more than a number or a string")
        content = content[holder]
    if not isinstance(content, dict) or not content:
        raise UntrustedFile("a file that does not hold a dictionary of tensors")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, TensorRecord):
            raise UntrustedFile(f"a dictionary whose entry {str(name)[:80]!r} is not a tensor")
    return dict(content), holder


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:120] or type(error).__name__
