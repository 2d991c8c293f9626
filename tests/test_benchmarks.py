"""The table and the picture of the benchmarks, from made-up numbers; the benchmarks themselves are run by hand."""

from pathlib import Path
from xml.etree import ElementTree

import torch

from benchmarks import memory, peers, summary
from benchmarks.compare import table
from benchmarks.figure import figure

MEGABYTE = 1 << 20


def row(contender, seconds, *, operation="gaussian_blur 3", size="2d_224", device="cpu", threads=1, launches=None):
    return {
        "operation": operation, "mode": "forward", "size": size, "contender": contender, "device": device,
        "threads": threads, "seconds": seconds, "median": seconds, "scratch": 2_500_000, "bytes": 12_000_000,
        "launches": launches,
    }  # fmt: skip


def test_the_table_has_ratios_and_marks_what_is_only_near():
    rows = [row("medadv", 0.002), row("compiled", 0.005), row("SciPy", 0.3), row("TorchIO", 0.6), row("copy", 0.001)]
    head, _, line = table(rows, {"cpu": 1e10}).splitlines()
    assert head.endswith("| scratch, MB | of eager, MB | over compiled | over copy | over SciPy | over TorchIO |")
    assert line.endswith("| 1 | 2 | 2.5 |  | 2.5x | 0.5x | 150x | ~300x |")


def test_the_table_has_speed_ups_and_rooflines_where_they_were_measured():
    rows = [row("medadv", 0.002), row("medadv", 0.001, threads=2)]
    rows.append(row("medadv", 1e-5, device="cuda", launches=1))
    text = table(rows, {"cpu": 1e10, "cuda": 2e12})
    assert "| over 1 thread | launches | GB/s | of copy |" in text
    assert "| cpu | 2 | 1 | 2.5 |  | 2.00x |  |  |  |" in text
    assert "| 1 | 1200 | 60% |" in text


def test_the_picture_is_one_svg_with_a_mark_per_peer():
    contenders = ["compiled", "eager", "copy", *peers.names("gaussian_blur")]
    rows = [
        row(name, 0.002 * (1 + i), size=size)
        for size in ("2d_224", "3d_128")
        for i, name in enumerate(["medadv", *contenders])
    ]
    facts = {"gpu": None, "cpu": "A & B", "torch": "2", "commit": "0123456789", "changed": True}
    root = ElementTree.fromstring(figure(rows, facts))
    titles = [element.text for element in root.iter() if element.tag.endswith("title")]
    assert len(titles) == 2 * (len(contenders) - 1)  # copying is no contender
    assert "compiled: 2.0x" in titles
    assert not [element for element in root.iter() if element.tag.endswith("script")]


def test_scratch_is_what_comes_on_top_of_the_result():
    before = torch.ones(64 * MEGABYTE // 4)
    _, nothing = memory.scratch_bytes(lambda: before * 2, "cpu")
    _, one = memory.scratch_bytes(lambda: (before * 2).exp(), "cpu")
    result, two = memory.scratch_bytes(lambda: ((before * 2).exp(), before + 1), "cpu")
    assert [round(scratch / (64 * MEGABYTE), 1) for scratch in (nothing, one)] == [0, 1]
    assert len(memory.tensors(result)) == 2
    assert two < 65 * MEGABYTE


def test_the_committed_page_is_of_the_committed_results():
    """After a measurement: python -m benchmarks.summary > docs/speed.md."""
    assert (Path(__file__).parents[1] / "docs/speed.md").read_text() == summary.page()


def test_a_line_of_the_page_names_the_fastest_and_the_slowest_library():
    seconds = {"medadv": 0.002, "eager": 0.008, "copy": 0.001, "SciPy": 0.03, "MONAI": 0.2, "deepali": 0.05}
    contenders = {name: {"seconds": value} for name, value in seconds.items()}
    line = summary.line(("warp linear", "forward", "2d_224", "cpu", 1), contenders)
    assert line == "| warp linear | forward | 2d_224 | 1 | 2 | 4.0x |  | 15x (SciPy) to 100x (MONAI) |"
