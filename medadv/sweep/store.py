"""The store of a sweep's results: one directory, whole files only, safe to kill at any moment.

Layout::

    plan.json                            what is to be done; sealed with its own SHA-256, never changed
    units/ab/<unit id>.<hash>.parquet    rows of a unit
    artifacts/ab/<unit id>.<hash>.safetensors
    receipts/<unit id>.json              sealed; names the unit's files and their SHA-256
    tmp/                                 files in the making

A unit is committed when its receipt is linked into place, which only one process can do. Data files carry
the start of their hash in their name, so processes that commit the same unit never touch each other's
files, and a name always stands for the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import shutil
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

import medadv
from medadv.sweep.sealed_json import seal, unseal
from medadv.sweep.shard import Columns, check_columns, query_parquet, write_parquet
from medadv.sweep.unit import Unit, check_plain

_RECEIPT = re.compile(r"[0-9a-f]{64}\.json")
_FOREIGN_TMP_LIFETIME = 24 * 3600.0  # s; whether a process of another host lives cannot be asked


class StoreExists(ValueError):  # noqa: N818
    """There is something at the path of a store that was to be created."""


class StoreDamaged(ValueError):  # noqa: N818
    """A file of the store is missing or not what was written."""


@dataclass(frozen=True)
class Receipt:
    """What is known of a committed unit.

    Args:
        unit: the unit.
        rows: number of its rows.
        columns: their names.
        files: "rows", and "artifacts" where there are some, to {"path", "sha256", "bytes"}.
        facts: what the committer told: seconds, versions and the like.
        host: name of the machine that committed.
        committed: time of the commit, UTC, ISO 8601.
        plan_sha256: hash of the bytes of the plan it was done for.
    """

    unit: Unit
    rows: int
    columns: tuple[str, ...]
    files: Mapping[str, Mapping[str, Any]]
    facts: Mapping[str, Any]
    host: str
    committed: str
    plan_sha256: str


class Store:
    """The results of one sweep. Made by `Store.create` or `Store.open`.

    Several processes, on several machines with one file system, may use a store at the same time.

    >>> import tempfile
    >>> store = Store.create(Path(tempfile.mkdtemp()) / "sweep", {"seed": 0})
    >>> unit = Unit("check", {"data": "phantoms"})
    >>> store.commit(unit, {"check": ["C1"], "outcome": ["passed"]})
    True
    >>> store.commit(unit, {"check": ["C1"], "outcome": ["passed"]})
    False
    >>> store.query("SELECT outcome FROM rows", kind="check")["outcome"].tolist()
    ['passed']
    """

    def __init__(self, path: Path, plan: dict[str, Any], plan_sha256: str) -> None:
        self.path = path
        self.plan = plan
        self.plan_sha256 = plan_sha256

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r})"

    @staticmethod
    def create(path: str | os.PathLike[str], plan: dict[str, Any]) -> Store:
        """Make a new, empty store.

        Args:
            path: a directory that does not exist; its parents are made.
            plan: plain JSON values; frozen from here on.

        Returns:
            The store. It appears whole or not at all.

        Raises:
            StoreExists: there is something at ``path``.
            OSError: it, or the folder that it is to lie in, cannot be made.
            TypeError: the plan holds something other than plain JSON values.
            ValueError: the plan has a key "sha256" or a float that is not finite.
        """
        target = Path(path)
        if os.path.lexists(target):
            raise StoreExists(f"Store.create: path must not exist yet, got {target}")
        check_plain(plan, "Store.create: plan")
        raw = seal(plan)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(f"Store.create: the folder {target.parent} cannot be made: {error.strerror}") from error
        draft = target.parent / f".{target.name}.{uuid.uuid4().hex}.tmp"
        try:
            for folder in ("", "units", "artifacts", "receipts", "tmp"):
                (draft / folder).mkdir()
            _write(draft / "plan.json", raw)
            _sync(draft)
            os.rename(draft, target)
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            if os.path.lexists(target):
                raise StoreExists(f"Store.create: path must not exist yet, got {target}") from error
            raise OSError(f"Store.create: the store {target} cannot be made: {error.strerror}") from error
        _sync(target.parent)
        return Store.open(target)

    @staticmethod
    def open(path: str | os.PathLike[str]) -> Store:
        """Open a store, and sweep away what killed processes left.

        Args:
            path: directory of the store.

        Returns:
            The store.

        Raises:
            StoreDamaged: the plan is missing or not what was written.
            ValueError: there is no store at ``path``.
        """
        root = Path(path)
        if not (root / "receipts").is_dir():
            raise ValueError(f"{root}: no medadv store; the folder that an evaluation wrote expected")
        try:
            raw = (root / "plan.json").read_bytes()
            plan = unseal(raw)
        except FileNotFoundError:
            raise StoreDamaged(f"{root / 'plan.json'} is missing") from None
        except ValueError as error:
            raise StoreDamaged(f"{root / 'plan.json'} is damaged: {error}") from None
        store = Store(root, plan, _sha256(raw))
        store._sweep_tmp()
        return store

    def done(self) -> set[str]:
        """Ids of the committed units.

        Returns:
            The names of the receipts; their contents are not read.
        """
        return {name[:-5] for name in os.listdir(self.path / "receipts") if _RECEIPT.fullmatch(name)}

    def commit(
        self,
        unit: Unit,
        columns: Columns,
        artifacts: Mapping[str, np.ndarray[Any, Any]] | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> bool:
        """Store the result of a unit, all or nothing.

        Args:
            unit: the unit.
            columns: name to one-dimensional array of bool, integer, float32 or float64 (NaN allowed), or
                to a list of texts; all of one length.
            artifacts: name to array of any shape.
            facts: plain JSON values for the receipt, such as {"seconds": 1.5}.

        Returns:
            True if this call committed the unit, False if it was committed already.

        Raises:
            TypeError: a value of a type that is not named above.
            ValueError: columns of different lengths, or a fact that is not finite.
        """
        given = check_columns(columns)
        tensors = _check_artifacts(artifacts or {})
        told = dict(facts or {})
        check_plain(told, "Store.commit: facts")
        if (self.path / "receipts" / f"{unit.id}.json").exists():
            return False
        with self._temporary() as tmp:
            write_parquet(tmp, given)
            files = {"rows": self._place(tmp, "units", unit.id, "parquet")}
        if tensors:
            with self._temporary() as tmp:
                tmp.write_bytes(safetensors.numpy.save(tensors))
                files["artifacts"] = self._place(tmp, "artifacts", unit.id, "safetensors")
        content = {
            "unit": unit.id,
            "kind": unit.kind,
            "fields": dict(unit.fields),
            "rows": len(next(iter(given.values()))),
            "columns": list(given),
            "files": files,
            "facts": told,
            "host": socket.gethostname(),
            "committed": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "plan_sha256": self.plan_sha256,
            "writer": {"medadv": medadv.__version__, "python": platform.python_version()},
        }
        with self._temporary() as tmp:
            _write(tmp, seal(content))
            won = self._link_receipt(tmp, unit.id)
        if not won:
            self._drop_unused(unit.id, files)
        return won

    def receipt(self, unit_id: str) -> Receipt:
        """The receipt of a committed unit.

        Args:
            unit_id: id of the unit.

        Returns:
            The receipt.

        Raises:
            StoreDamaged: it is not what was written, or belongs to another unit or another plan.
            ValueError: the unit is not committed.
        """
        path = self.path / "receipts" / f"{unit_id}.json"
        try:
            content = unseal(path.read_bytes())
        except FileNotFoundError:
            raise ValueError(f"Store: unit {unit_id} is not committed in {self.path}") from None
        except ValueError as error:
            raise StoreDamaged(f"{path} is damaged: {error}") from None
        unit = Unit(content["kind"], content["fields"])
        if unit.id != unit_id:
            raise StoreDamaged(f"{path} is the receipt of another unit, {unit.id}")
        if content["plan_sha256"] != self.plan_sha256:
            raise StoreDamaged(f"{path} was written for another plan than {self.path / 'plan.json'}")
        return Receipt(
            unit=unit,
            rows=content["rows"],
            columns=tuple(content["columns"]),
            files=content["files"],
            facts=content["facts"],
            host=content["host"],
            committed=content["committed"],
            plan_sha256=content["plan_sha256"],
        )

    def receipts(self, kind: str | None = None) -> list[Receipt]:
        """The receipts of the committed units.

        Args:
            kind: only units of this kind; None for all.

        Returns:
            The receipts in the order of their ids.

        Raises:
            StoreDamaged: one of them is damaged.
        """
        found = [self.receipt(unit_id) for unit_id in sorted(self.done())]
        return [receipt for receipt in found if kind in (None, receipt.unit.kind)]

    def query(self, sql: str, kind: str) -> dict[str, np.ndarray[Any, Any]]:
        """Answer a question about the rows of all committed units of a kind.

        Args:
            sql: a SELECT in DuckDB's dialect over two tables: ``rows``, with the column ``unit`` (the id)
                before the stored columns, and ``units``, with the columns ``unit``, ``rows``, ``host``,
                ``committed`` and every unit field whose values are numbers or texts.
            kind: kind of the units.

        Returns:
            Column name to array; texts are object arrays. NULL becomes NaN in a float column, None in any
            other. The order is that of ORDER BY.

        Raises:
            StoreDamaged: a shard is not what was written.
            ValueError: no unit of this kind is committed.
        """
        receipts = self.receipts(kind)
        if not receipts:
            raise ValueError(f"Store.query: no unit of kind {kind!r} is committed in {self.path}")
        for receipt in receipts:
            self._read(receipt, "rows")
        shards = {receipt.unit.id: self._path(receipt, "rows") for receipt in receipts}
        return query_parquet(sql, shards, _unit_table(receipts))

    def artifacts(self, unit_id: str) -> dict[str, np.ndarray[Any, Any]]:
        """The arrays that were committed with a unit.

        Args:
            unit_id: id of the unit.

        Returns:
            Name to array; empty if there were none.

        Raises:
            StoreDamaged: the receipt or the file is not what was written.
            ValueError: the unit is not committed.
        """
        receipt = self.receipt(unit_id)
        if "artifacts" not in receipt.files:
            return {}
        loaded: dict[str, np.ndarray[Any, Any]] = safetensors.numpy.load(self._read(receipt, "artifacts"))
        return loaded

    def verify(self) -> list[str]:
        """Read every file and compare it with its hash.

        Returns:
            One sentence for each damaged or missing file; empty if the store is sound.
        """
        damage = []
        try:
            if _sha256((self.path / "plan.json").read_bytes()) != self.plan_sha256:
                damage.append(f"{self.path / 'plan.json'} is not the plan that was opened")
        except FileNotFoundError:
            damage.append(f"{self.path / 'plan.json'} is missing")
        for unit_id in sorted(self.done()):
            try:
                receipt = self.receipt(unit_id)
            except StoreDamaged as error:
                damage.append(str(error))
                continue
            for part in receipt.files:
                try:
                    self._read(receipt, part)
                except StoreDamaged as error:
                    damage.append(str(error))
        return damage

    def _path(self, receipt: Receipt, part: str) -> Path:
        return self.path / str(receipt.files[part]["path"])

    def _read(self, receipt: Receipt, part: str) -> bytes:
        path = self._path(receipt, part)
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            raise StoreDamaged(f"{path} is missing") from None
        if _sha256(raw) != receipt.files[part]["sha256"]:
            raise StoreDamaged(f"{path} is damaged: the content does not match the SHA-256 of its receipt")
        return raw

    def _place(self, tmp: Path, folder: str, unit_id: str, suffix: str) -> dict[str, Any]:
        """Move a data file into place, on the disk for good, and say what it is."""
        _sync(tmp)
        raw = tmp.read_bytes()
        digest = _sha256(raw)
        name = f"{folder}/{unit_id[:2]}/{unit_id}.{digest[:16]}.{suffix}"
        target = self.path / name
        target.parent.mkdir(exist_ok=True)
        os.replace(tmp, target)
        _sync(target.parent)
        _sync(target.parent.parent)
        return {"path": name, "sha256": digest, "bytes": len(raw)}

    def _link_receipt(self, tmp: Path, unit_id: str) -> bool:
        target = self.path / "receipts" / f"{unit_id}.json"
        try:
            os.link(tmp, target)
        except FileExistsError:
            # NFS may repeat a link that worked and report that the name is taken, by this very file.
            won = tmp.stat().st_nlink == 2
        else:
            won = True
        _sync(target.parent)
        return won

    def _drop_unused(self, unit_id: str, files: Mapping[str, Mapping[str, Any]]) -> None:
        kept = {part["path"] for part in self.receipt(unit_id).files.values()}
        for part in files.values():
            if part["path"] not in kept:
                (self.path / part["path"]).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[Path]:
        """A new name in tmp/ that says whose it is."""
        path = self.path / "tmp" / f"{os.getpid()}.{uuid.uuid4().hex}.{socket.gethostname()}"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _sweep_tmp(self) -> None:
        for entry in os.scandir(self.path / "tmp"):
            with contextlib.suppress(FileNotFoundError):
                if _is_abandoned(entry):
                    os.unlink(entry)


def _is_abandoned(entry: os.DirEntry[str]) -> bool:
    pid, _, rest = entry.name.partition(".")
    host = rest.partition(".")[2]
    if host != socket.gethostname() or not pid.isdigit():
        return time.time() - entry.stat().st_mtime > _FOREIGN_TMP_LIFETIME
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _check_artifacts(
    artifacts: Mapping[str, np.ndarray[Any, Any]],
) -> dict[str, np.ndarray[Any, Any]]:
    for name, array in artifacts.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
            kind = getattr(array, "dtype", type(array).__name__)
            raise TypeError(f"Store.commit: artifact {name!r} must be an array of numbers, got {kind}")
    # safetensors writes the buffer as it lies in memory, whatever the strides.
    return {name: np.asarray(array, order="C") for name, array in artifacts.items()}


def _unit_table(receipts: list[Receipt]) -> dict[str, np.ndarray[Any, Any]]:
    table: dict[str, list[Any]] = {
        "unit": [receipt.unit.id for receipt in receipts],
        "rows": [receipt.rows for receipt in receipts],
        "host": [receipt.host for receipt in receipts],
        "committed": [receipt.committed for receipt in receipts],
    }
    names = set.intersection(*(set(receipt.unit.fields) for receipt in receipts)) - set(table)
    for name in sorted(names):
        values = [receipt.unit.fields[name] for receipt in receipts]
        if all(isinstance(value, (bool, int, float)) for value in values) or all(
            isinstance(value, str) for value in values
        ):
            table[name] = values
    return {
        name: np.array(values, dtype=object if isinstance(values[0], str) else None) for name, values in table.items()
    }


def _write(path: Path, raw: bytes) -> None:
    with open(path, "xb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
