"""Where units were computed: what may round numbers in another way, and whether it was the same for all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from medadv.sweep.store import Receipt

_NOT_RECORDED = "not recorded"


def told_apart(receipts: Iterable[Receipt]) -> str:
    """Say in what the circumstances of units differ: versions, processor, device, number of threads.

    Args:
        receipts: of units that were computed by `medadv.sweep.evaluate`.

    Returns:
        One sentence; empty where they were the same for all, as far as they were recorded.

    >>> def receipt(hour, threads):
    ...     facts = {"versions": {"torch": "2.13.0"}, "threads": threads}
    ...     return Receipt(None, 0, (), {}, facts, "host", f"2026-11-22T{hour:02d}:00:00+00:00", "")
    >>> told_apart([receipt(11, 2), receipt(9, 8), receipt(10, 8)])
    'Roundings may differ, as not all was computed in the same circumstances: threads 8 in 2 units, 2 in 1.'
    >>> told_apart([receipt(9, 8), receipt(10, 8)])
    ''
    """
    found = [_facts(receipt) for receipt in sorted(receipts, key=lambda receipt: receipt.committed)]
    names = dict.fromkeys(name for facts in found for name in facts)
    counted = {name: Counter(str(facts.get(name, _NOT_RECORDED)) for facts in found) for name in names}
    phrases = [_phrase(name, values) for name, values in counted.items() if len(values) > 1]
    if not phrases:
        return ""
    return f"Roundings may differ, as not all was computed in the same circumstances: {'; '.join(phrases)}."


def _facts(receipt: Receipt) -> dict[str, Any]:
    """Name to value; nothing of a unit that somebody else committed."""
    found = dict(receipt.facts.get("versions", {}))
    return {**found, "threads": receipt.facts["threads"]} if "threads" in receipt.facts else found


def _phrase(name: str, values: Counter[str]) -> str:
    """The values in the order in which they came up."""
    first, *others = values.items()
    units = "1 unit" if first[1] == 1 else f"{first[1]} units"
    return ", ".join([f"{name} {first[0]} in {units}", *(f"{value} in {times}" for value, times in others)])
