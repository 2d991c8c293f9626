"""Numbers, tables and verdicts as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from studies._common.parts import Json

Writer = Callable[[float], str]

NOT_THERE = "–"


def percent(number: Json | None) -> str:
    """A share with its interval.

    >>> percent({"value": 0.5, "low": 0.41, "high": 0.6})
    '50 % (41 to 60)'
    """
    return _with_interval(number, lambda value: f"{100 * value:.0f}", " %")


def points(number: Json | None) -> str:
    """A difference of shares with its interval, in percentage points.

    >>> points({"value": -0.05, "low": -0.11, "high": 0.02})
    '-5 (-11 to +2)'
    """
    return _with_interval(number, lambda value: f"{_no_minus_zero(round(100 * value)):+d}", "")


def decimal(number: Json | None, digits: int = 3) -> str:
    """A number with its interval.

    >>> decimal({"value": 1.25, "low": 1.0, "high": 1.5}, 1)
    '1.2 (1.0 to 1.5)'
    """
    return _with_interval(number, lambda value: f"{value:.{digits}f}", "")


def plain(value: float | None, digits: int = 3) -> str:
    """A number without an interval.

    >>> plain(None)
    '–'
    """
    return NOT_THERE if value is None else f"{value:.{digits}f}"


def sign(number: Json | None) -> int:
    """1 or -1 where the whole interval lies above or below 0, else 0.

    >>> sign({"value": 0.2, "low": 0.1, "high": 0.3})
    1
    """
    if number is None or number["low"] is None:
        return 0
    return 1 if number["low"] > 0 else -1 if number["high"] < 0 else 0


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table.

    >>> print(table(["a", "b"], [["1", "2"]]))
    | a | b |
    | --- | --- |
    | 1 | 2 |
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def listed(names: Sequence[str]) -> str:
    """Names as a part of a sentence.

    >>> listed(["flow", "PGD", "DI-FGSM"])
    'flow, PGD and DI-FGSM'
    """
    if not names:
        return "none"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def networks_table(rows: Sequence[Json]) -> str:
    """Accuracy of the networks on other patients, or other images where no patients are known."""
    body = [
        [
            row["set"],
            row["architecture"],
            str(row["seed"]),
            str(row["training images"]),
            str(row["test images"]),
            percent({"value": row["accuracy"], "low": row["low"], "high": row["high"]}),
        ]
        for row in rows
    ]
    return table(["set", "network", "seed", "trained on", "tested on", "accuracy"], body)


def made_with(circumstances: Json) -> str:
    """One sentence on machine and versions."""
    of = circumstances
    changed = " with local changes" if of["changed"] else ""
    return (
        f"Machine: {of['machine']}, {of['threads']} thread(s); Python {of['python']}, torch {of['torch']}, "
        f"NumPy {of['numpy']}; commit {of['commit'][:10]}{changed}."
    )


def _with_interval(number: Json | None, write: Writer, unit: str) -> str:
    if number is None or number["value"] is None:
        return NOT_THERE
    if number["low"] is None:
        return f"{write(number['value'])}{unit}"
    return f"{write(number['value'])}{unit} ({write(number['low'])} to {write(number['high'])})"


def _no_minus_zero(value: int) -> int:
    return value or 0
