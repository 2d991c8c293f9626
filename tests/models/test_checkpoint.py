"""Weights files, harmless and hostile. Every hostile file must be refused and its payload must not run."""

from __future__ import annotations

import builtins
import io
import json
import pickle
import struct
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from medadv.models.checkpoint import UntrustedFile, load_weights
from medadv.models.residual_network import ResidualNetwork


class Payload:
    """Writes a marker file when unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (builtins.open, (str(self.marker), "w"))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


def saved(content: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(contents: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return stream.getvalue()


def with_program(data: bytes, program: bytes) -> bytes:
    contents = members(data)
    return packed({**contents, "archive/data.pkl": program})


def program_of(data: bytes) -> bytes:
    return members(data)["archive/data.pkl"]


@pytest.fixture
def refuse(tmp_path) -> Callable[[bytes, str], None]:
    """Check that a file is refused with one sentence that says how to convert it, and that no marker appeared."""

    def check(data: bytes, reason: str) -> None:
        path = tmp_path / "weights.bin"
        path.write_bytes(data)
        with pytest.raises(UntrustedFile, match=reason) as caught:
            load_weights(path)
        sentence = str(caught.value)
        assert sentence.startswith(f"{path}: ")
        assert "torch.save(model.state_dict(), 'weights.pt')" in sentence
        assert "safetensors" in sentence
        assert "\n" not in sentence
        assert not (tmp_path / "marker").exists()

    return check


def assert_same(loaded: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert loaded.keys() == wanted.keys()
    for name, value in wanted.items():
        assert loaded[name].dtype == value.dtype
        assert loaded[name].shape == value.shape
        assert torch.equal(loaded[name], value)


@pytest.mark.parametrize("model", [network(), ResidualNetwork(), nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 1))])
def test_torch_save_and_safetensors_give_the_same_tensors(tmp_path, model) -> None:
    torch.save(model.state_dict(), tmp_path / "a.pt")
    safetensors.torch.save_file(model.state_dict(), tmp_path / "a.safetensors")
    assert_same(load_weights(tmp_path / "a.pt"), model.state_dict())
    assert_same(load_weights(tmp_path / "a.safetensors"), model.state_dict())


def test_the_kind_is_told_by_content_not_by_name(tmp_path) -> None:
    torch.save(network().state_dict(), tmp_path / "a.safetensors")
    safetensors.torch.save_file(network().state_dict(), tmp_path / "a.pt")
    assert_same(load_weights(tmp_path / "a.safetensors"), network().state_dict())
    assert_same(load_weights(tmp_path / "a.pt"), network().state_dict())


def test_views_types_and_empty_tensors(tmp_path) -> None:
    shared = torch.arange(24.0)
    content = {
        "transposed": torch.arange(12.0).reshape(3, 4).t(),
        "view": shared[2:14:3],
        "other view": shared[10:],
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(3.5),
        "parameter": nn.Parameter(torch.ones(2)),
        **{str(dtype): torch.ones(3, dtype=dtype) for dtype in (torch.half, torch.bfloat16, torch.double)},
        **{str(dtype): torch.ones(3, dtype=dtype) for dtype in (torch.int64, torch.int8, torch.uint8, torch.bool)},
    }
    torch.save(content, tmp_path / "a.pt")
    loaded = load_weights(tmp_path / "a.pt")
    assert_same(loaded, content)
    assert not loaded["parameter"].requires_grad


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_one_level_of_nesting_beside_plain_values(tmp_path, key) -> None:
    torch.save({"epoch": 3, "loss": 0.5, "name": "net", "best": None, key: network().state_dict()}, tmp_path / "a.pt")
    assert_same(load_weights(tmp_path / "a.pt"), network().state_dict())


def test_a_missing_file_is_a_plain_error(tmp_path) -> None:
    for path in (tmp_path / "no.pt", tmp_path):
        with pytest.raises(ValueError, match="weights: no file") as caught:
            load_weights(path)
        assert not isinstance(caught.value, UntrustedFile)


def test_a_whole_module(refuse) -> None:
    refuse(saved(network()), "asks for torch.nn.modules.container.Sequential")


def test_payloads(refuse, tmp_path) -> None:
    payload = Payload(tmp_path / "marker")
    refuse(saved({"weight": payload}), "asks for io.open")
    refuse(saved({"state_dict": network().state_dict(), "hook": payload}), "asks for io.open")
    refuse(pickle.dumps(payload), "a pickle")
    refuse(pickle.dumps(payload, protocol=0), "neither a safetensors file nor a zip")
    stream = io.BytesIO()
    torch.save({"weight": payload}, stream, _use_new_zipfile_serialization=False)
    refuse(stream.getvalue(), "a pickle")
    plain = saved(network().state_dict())
    for protocol in range(6):
        program = pickle.dumps({"weight": payload}, protocol=protocol)
        refuse(with_program(plain, program), "a pickle (with opcode|that asks for)")
    # The payload comes first and harmless weights follow: the pickle is a stream, and pickletools stops at STOP.
    refuse(with_program(plain, pickle.dumps(payload, 2) + program_of(plain)), "asks for io.open")


@pytest.mark.parametrize(
    "name", ["os system", "builtins eval", "builtins getattr", "torch load", "torch.hub load", "torch._utils _rebuild"]
)
def test_globals_beyond_the_list(refuse, name) -> None:
    module, function = name.split()
    program = b"\x80\x02c" + f"{module}\n{function}\n".encode() + b"X\x01\x00\x00\x00a\x85R."
    refuse(with_program(saved({}), program), f"asks for {module}.{function}")


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "opcode SHORT_BINUNICODE"),
        (b"\x80\x02(i__main__\nX\n.", "opcode INST"),
        (b"\x80\x02\x82\x01.", "opcode EXT1"),
        (b"\x80\x02}r\xff\xff\xff\xff.", "memo index beyond its own length"),
        (b"\x80\x02}", "malformed pickle"),
        (b"", "without a data.pkl"),
        (b"\x80\x02X\xff\xff\xff\x7fa.", "malformed pickle"),
        (b"\x80\x02}R.", "malformed pickle"),
        (b"\x80\x02K\x01.", "does not hold a dictionary of tensors"),
        (b"\x80\x02].", "does not hold a dictionary of tensors"),
    ],
)
def test_pickle_programs(refuse, program, reason) -> None:
    refuse(with_program(saved({}), program), reason)


@pytest.mark.filterwarnings("ignore")  # torch warns that TorchScript is going
def test_torchscript(refuse) -> None:
    stream = io.BytesIO()
    torch.jit.save(torch.jit.trace(network().eval(), torch.zeros(1, 1, 4, 4)), stream)
    refuse(stream.getvalue(), r"a TorchScript or \.pt2 program")


@pytest.mark.filterwarnings("ignore")
def test_exported_programs_with_a_pickle_inside(refuse, tmp_path) -> None:
    program = torch.export.export(network().eval(), (torch.zeros(1, 1, 4, 4),))
    path = tmp_path / "a.pt2"
    torch.export.save(program, path)
    refuse(path.read_bytes(), r"a TorchScript or \.pt2 program")
    contents = members(path.read_bytes())
    top = next(iter(contents)).split("/", 1)[0]
    contents[f"{top}/data/sample_inputs/model.pt"] = pickle.dumps(Payload(tmp_path / "marker"))
    refuse(packed(contents), r"a TorchScript or \.pt2 program")


def test_compressed_archives(refuse) -> None:
    refuse(packed(members(saved({"w": torch.zeros(100_000)})), zipfile.ZIP_DEFLATED), "a compressed member")


def test_expanded_and_oversized_tensors(refuse) -> None:
    refuse(saved({"w": torch.zeros(1).expand(2**40)}), "1099511627776 elements over a storage of 1")
    refuse(saved({"w": torch.zeros(4).expand(3, 4)}), "12 elements over a storage of 4")
    data = saved({"w": torch.zeros(37)})
    program = program_of(data)
    assert program.count(b"K%\x85") == 1  # the size (37,)
    refuse(with_program(data, program.replace(b"K%\x85", b"K\xff\x85")), "255 elements over a storage of 37")
    refuse(with_program(data, program.replace(b"K%\x85", b"J\xff\xff\xff\xff\x85")), "not a natural number")
    assert program.count(b"K\x01\x85") == 1  # the stride (1,)
    refuse(with_program(data, program.replace(b"K\x01\x85", b"K\x02\x85")), "37 elements over a storage of 37")
    storage = members(data)["archive/data/0"]
    refuse(packed({**members(data), "archive/data/0": storage[:-4]}), "declared size is not the size in the archive")
    without = {name: content for name, content in members(data).items() if name != "archive/data/0"}
    refuse(packed(without), "declared size is not the size in the archive")


@pytest.mark.filterwarnings("ignore")  # torch warns that quantised and sparse tensors are going or new
def test_tensors_that_are_not_plain(refuse) -> None:
    refuse(saved({"w": torch.quantize_per_tensor(torch.zeros(3), 1.0, 0, torch.qint8)}), "_rebuild_qtensor")
    refuse(saved({"w": torch.eye(3).to_sparse()}), "_rebuild_sparse_tensor")
    refuse(saved({"w": torch.zeros(3, device="meta")}), "_rebuild_meta_tensor")
    refuse(saved({"w": torch.zeros(3, dtype=torch.complex64)}), "torch.ComplexFloatStorage")
    hooked = torch.zeros(3)
    hooked.note = "an attribute"
    refuse(saved({"w": hooked}), "_rebuild_from_type_v2")


def test_other_contents(refuse) -> None:
    refuse(saved({}), "does not hold a dictionary of tensors")
    refuse(saved([torch.zeros(2)]), "does not hold a dictionary of tensors")
    refuse(saved(torch.zeros(2)), "does not hold a dictionary of tensors")
    refuse(saved({1: torch.zeros(2)}), "entry '1' is not a tensor")
    refuse(saved({"w": torch.zeros(2), "epoch": 3}), "entry 'epoch' is not a tensor")
    refuse(saved({"model": {"inner": {"w": torch.zeros(2)}}}), "entry 'inner' is not a tensor")
    optimiser = {"state": {}, "param_groups": []}
    refuse(saved({"model": {"w": torch.zeros(2)}, "optimizer": optimiser}), "entry 'optimizer' is more than a number")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("archive/../evil", "an unexpected member"),
        ("../evil", "an unexpected member"),
        ("/etc/evil", "an unexpected member"),
        ("other/data/0", "an unexpected member"),
        ("archive/data/../../evil", "an unexpected member"),
        ("archive/data/0x", "an unexpected member"),
        ("archive/extra", "an unexpected member"),
        ("evil", "an unexpected member"),
        ("archive/code/evil.py", "TorchScript"),
        ("archive/constants.pkl", "TorchScript"),
        ("archive/archive_format", "TorchScript"),
    ],
)
def test_members_that_do_not_belong(refuse, name, reason) -> None:
    contents = members(saved({"w": torch.zeros(3)}))
    refuse(packed({**contents, name: b"x"}), reason)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_that_two_readers_could_see_differently(refuse) -> None:
    contents = members(saved({"w": torch.zeros(3)}))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in [*contents.items(), ("archive/data.pkl", contents["archive/data.pkl"])]:
            archive.writestr(name, content)
    refuse(stream.getvalue(), "repeated members")
    refuse(packed(contents) + b"trailing", "bytes after its directory")
    with_comment = io.BytesIO()
    with zipfile.ZipFile(with_comment, "w") as archive:
        archive.comment = b"x" * 40
        for name, content in contents.items():
            archive.writestr(name, content)
    refuse(with_comment.getvalue(), "bytes after its directory")


def test_safetensors_headers_that_lie(refuse) -> None:
    def built(header: object, body: bytes = bytes(16), length: int | None = None) -> bytes:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(text) if length is None else length) + text + body

    entry = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    refuse(built({"w": entry}, length=2**63), "neither a safetensors file")
    refuse(built({"w": entry}, length=99_999), "neither a safetensors file")
    refuse(built({"w": {**entry, "shape": [2**40]}}), "damaged safetensors")
    refuse(built({"w": {**entry, "data_offsets": [0, 2**40]}}), "damaged safetensors")
    refuse(built({"w": {**entry, "data_offsets": [16, 0]}}), "damaged safetensors")
    refuse(built({"w": entry, "v": entry}), "damaged safetensors")
    refuse(built({"w": {**entry, "dtype": "F99"}}), "damaged safetensors")
    refuse(built({"w": entry}, body=bytes(20)), "damaged safetensors")
    refuse(built(b"{not json"), "damaged safetensors")


def test_foreign_files(refuse) -> None:
    refuse(b"", "an empty file")
    refuse(b"PK\x03\x04", "a damaged zip archive")
    refuse(b"\x89HDF\r\n\x1a\n" + bytes(500), "neither a safetensors file")
    refuse(np.random.default_rng(0).bytes(5_000), "neither a safetensors file")
    tar = bytearray(1024)
    tar[257:262] = b"ustar"
    refuse(bytes(tar), "a pickle")


def test_every_truncation_is_refused(tmp_path) -> None:
    for whole in (saved(network().state_dict()), safetensors.torch.save(network().state_dict())):
        for length in range(0, len(whole), 37):
            (tmp_path / "a.bin").write_bytes(whole[:length])
            with pytest.raises(UntrustedFile):
                load_weights(tmp_path / "a.bin")


@pytest.mark.filterwarnings("ignore")
def test_flipped_bytes_load_as_plain_tensors_or_are_refused(tmp_path) -> None:
    draw = np.random.default_rng(0)
    loaded = 0
    for whole in (saved(network().state_dict()), safetensors.torch.save(network().state_dict())):
        for _ in range(500):
            damaged = bytearray(whole)
            for position in draw.integers(0, len(whole), draw.integers(1, 4)):
                damaged[position] = draw.integers(256)
            (tmp_path / "a.bin").write_bytes(damaged)
            try:
                tensors = load_weights(tmp_path / "a.bin")
            except UntrustedFile:
                continue
            loaded += 1
            for tensor in tensors.values():
                assert tensor.numel() * tensor.element_size() <= len(whole)
    assert 0 < loaded < 1000


def test_a_large_promise_takes_no_memory(tmp_path) -> None:
    (tmp_path / "a.pt").write_bytes(saved({"w": torch.zeros(1).expand(2**40)}))
    tracemalloc.start()
    with pytest.raises(UntrustedFile):
        load_weights(tmp_path / "a.pt")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22


def test_nothing_reaches_torch_before_the_checks(tmp_path, monkeypatch) -> None:
    """The checks stand on their own: even a torch.load that would run code never sees a hostile file."""
    seen = []
    monkeypatch.setattr(torch, "load", lambda *a, **k: seen.append(k) or OrderedDict())
    for content in (network(), {"w": Payload(tmp_path / "marker")}, {"w": torch.zeros(1).expand(99)}):
        (tmp_path / "a.pt").write_bytes(saved(content))
        with pytest.raises(UntrustedFile):
            load_weights(tmp_path / "a.pt")
    assert seen == []
    (tmp_path / "a.pt").write_bytes(saved({"w": torch.zeros(3)}))
    with pytest.raises(UntrustedFile, match="entry 'w' is not a dense tensor"):
        load_weights(tmp_path / "a.pt")
    assert seen == [{"map_location": "cpu", "weights_only": True, "mmap": False}]


def test_what_torch_returns_must_be_what_was_described(tmp_path, monkeypatch) -> None:
    (tmp_path / "a.pt").write_bytes(saved({"w": torch.zeros(3)}))
    for content in ({"w": torch.zeros(4)}, {"w": torch.zeros(3).double()}, {"w": torch.zeros(6)[::2]}):
        monkeypatch.setattr(torch, "load", lambda *a, returned=content, **k: returned)
        with pytest.raises(UntrustedFile, match="not the tensor that the file describes"):
            load_weights(tmp_path / "a.pt")
    monkeypatch.setattr(torch, "load", lambda *a, **k: [torch.zeros(3)])
    with pytest.raises(UntrustedFile, match="something else than the dictionary"):
        load_weights(tmp_path / "a.pt")
