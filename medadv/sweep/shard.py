"""Parquet files of one unit's rows, written and queried through DuckDB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medadv._optional import require

Columns = Mapping[str, "np.ndarray[Any, Any] | Sequence[str]"]

_NUMBERS = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8"}


def check_columns(columns: Columns) -> dict[str, np.ndarray[Any, Any]]:
    """The columns as arrays that Parquet holds without loss.

    Args:
        columns: name to a one-dimensional array of bool, integer, float32 or float64 (NaN allowed), or to
            a list of texts; all of one length.

    Returns:
        The same columns; texts as object arrays.

    Raises:
        TypeError: a column of another type.
        ValueError: no columns, names that DuckDB cannot tell apart, an array that is not one-dimensional,
            or lengths that differ.
    """
    if not columns:
        raise ValueError("Store.commit: columns must hold at least one column")
    if len({name.lower() for name in columns} | {"unit"}) != len(columns) + 1:
        raise ValueError(
            f'Store.commit: column names must differ in more than case and not be "unit", got {list(columns)}'
        )
    arrays = {name: _check_column(name, values) for name, values in columns.items()}
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"Store.commit: columns must have one length, got {lengths}")
    return arrays


def write_parquet(path: Path, columns: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Write checked columns to a new Parquet file.

    Args:
        path: the file; its directory exists.
        columns: what `check_columns` returned.
    """
    selected = ", ".join(_select(name, values) for name, values in columns.items())
    with _connect() as connection:
        connection.register("given", dict(columns))
        connection.execute(
            f"COPY (SELECT {selected} FROM given) TO {_literal(str(path))} "
            "(FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)"
        )


def query_parquet(
    sql: str, shards: Mapping[str, Path], units: Mapping[str, np.ndarray[Any, Any]]
) -> dict[str, np.ndarray[Any, Any]]:
    """Answer a query over the shards of several units.

    Args:
        sql: a SELECT over the table ``rows`` (column ``unit``, then the columns of the shards) and the
            table ``units`` (column ``unit``, then what was given).
        shards: unit id to its file, named ``<unit id>.<anything>``; at least one.
        units: the columns of the table ``units``.

    Returns:
        Column name to array. NULL becomes NaN in a float column, None in any other.
    """
    files = ", ".join(_literal(str(path)) for path in shards.values())
    with _connect() as connection:
        connection.register("units", dict(units))
        connection.execute(
            "CREATE VIEW rows AS SELECT split_part(parse_filename(shard_file), '.', 1) AS unit, "
            f"* EXCLUDE (shard_file) FROM read_parquet([{files}], filename = 'shard_file')"
        )
        answer = connection.execute(sql).fetchnumpy()
    return {name: _without_mask(values) for name, values in answer.items()}


def _connect() -> Any:
    duckdb = require("duckdb", extra="lab")
    return duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})


def _check_column(name: str, values: Any) -> np.ndarray[Any, Any]:
    where = f"Store.commit: column {name!r}"
    if isinstance(values, np.ndarray) and values.dtype.kind not in "OU":
        if values.dtype.str[1:] not in _NUMBERS:
            raise TypeError(f"{where} must be bool, integer, float32, float64 or text, got {values.dtype}")
        if values.ndim != 1:
            raise ValueError(f"{where} must be one-dimensional, got shape {values.shape}")
        return values.astype(values.dtype.newbyteorder("="), copy=False)
    if isinstance(values, str) or not isinstance(values, (list, tuple, np.ndarray)):
        raise TypeError(f"{where} must be an array or a list of texts, got {type(values).__name__}")
    texts = np.empty(len(values), dtype=object)
    for index, text in enumerate(values):
        if not isinstance(text, str):
            raise TypeError(f"{where} must hold texts only, got {type(text).__name__} at row {index}")
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise ValueError(f"{where} must hold valid Unicode, got {text!r} at row {index}")
        texts[index] = str(text)
    return texts


def _select(name: str, values: np.ndarray[Any, Any]) -> str:
    quoted = '"' + name.replace('"', '""') + '"'
    if values.dtype == object:
        return f"CAST({quoted} AS VARCHAR) AS {quoted}"
    if values.dtype.kind == "f":
        # DuckDB reads NaN of a NumPy column as NULL. NULL cannot be given, so every NULL was a NaN.
        kind = "FLOAT" if values.dtype.itemsize == 4 else "DOUBLE"
        return f"coalesce({quoted}, CAST('nan' AS {kind})) AS {quoted}"
    return quoted


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _without_mask(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if not isinstance(values, np.ma.MaskedArray):
        return values
    missing = np.ma.getmaskarray(values)
    plain = np.array(values.data, dtype=None if values.dtype.kind == "f" or not missing.any() else object)
    plain[missing] = np.nan if plain.dtype.kind == "f" else None
    return plain
