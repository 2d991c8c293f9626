"""The command line of a study."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from medadv.cli.progress import ProgressDisplay
from studies._common.circumstances import circumstances
from studies._common.parts import Json
from studies._common.progress import Tell

Item = TypeVar("Item")


class Study(Protocol):
    """What `main` needs of a study."""

    @property
    def title(self) -> str:
        """What is studied."""
        ...

    def with_sets(self, names: Sequence[str]) -> Study:
        """The same study of some of its image sets."""
        ...

    def run(self, data: Path | None, out: Path, networks: Path, tell: Tell) -> Json:
        """The results as plain JSON values; `tell` takes what is done, and the share of all work so far."""
        ...

    def figures(self, results: Json) -> dict[str, str]:
        """SVG text by file name."""
        ...

    def findings(self, results: Json) -> str:
        """What the numbers say, as Markdown."""
        ...


def main(full: Study, quick: Study, arguments: list[str] | None = None) -> Path:
    """Run a study and write its results.

    Args:
        full: the study on real images.
        quick: the same on a few phantoms.
        arguments: of the command line; None: of the process.

    Returns:
        The folder with results.json, findings.md and the figures.
    """
    parser = argparse.ArgumentParser(description=full.title)
    parser.add_argument("--data", type=Path, help="folder with the image packs")
    parser.add_argument("--out", type=Path, required=True, help="folder for results; a second run goes on there")
    parser.add_argument("--networks", type=Path, help="folder of trained networks (default OUT/networks)")
    parser.add_argument("--quick", action="store_true", help="a few phantoms instead of real images, in a minute")
    parser.add_argument("--sets", nargs="+", metavar="NAME", help="only these image sets")
    options = parser.parse_args(arguments)
    if not options.quick and options.data is None:
        parser.error("--data is needed, but for --quick")
    study = quick if options.quick else full
    study = study.with_sets(options.sets) if options.sets else study
    started, processor = time.monotonic(), time.process_time()
    with ProgressDisplay() as display:
        results = study.run(options.data, options.out, options.networks or options.out / "networks", display.update)
    seconds = {"wall": time.monotonic() - started, "processor": time.process_time() - processor}
    return write(study, {**results, "circumstances": {**circumstances(), "seconds of this run": seconds}}, options.out)


def chosen(items: Sequence[Item], names: Sequence[str], name_of: Callable[[Item], str]) -> tuple[Item, ...]:
    """Those of some items that are named, in their own order.

    Args:
        items: what there is.
        names: what is wanted.
        name_of: the name of an item.

    Returns:
        The items.

    Raises:
        ValueError: a name that no item has.

    >>> chosen(["residual", "dense"], ["dense"], str)
    ('dense',)
    """
    known = [name_of(item) for item in items]
    for name in names:
        if name not in known:
            raise ValueError(f"sets must be some of {', '.join(known)}, got {name!r}")
    return tuple(item for item in items if name_of(item) in names)


def write(study: Study, results: Json, folder: Path) -> Path:
    """Write results.json, findings.md and the figures of a study.

    Args:
        study: the study.
        results: of its run.
        folder: made where it is missing.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1, allow_nan=False) + "\n")
    for name, svg in study.figures(results).items():
        (folder / name).write_text(svg)
    (folder / "findings.md").write_text(study.findings(results))
    return folder
