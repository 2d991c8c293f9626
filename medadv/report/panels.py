"""Which examples a report shows, and their pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from medadv.report.images import Array, change_uri, image_uri
from medadv.report.results import Series
from medadv.report.wording import REJECTED, Wording, class_name
from medadv.sweep.store import Store

_SHOWN_PERCENTILES = (0.5, 99.5)
_UNITS_PER_BUDGET = 4  # looked at for panels; a bound on what is read of a large store


@dataclass(frozen=True)
class Panel:
    """One example: clean, attacked, and what changed.

    Args:
        heading: which budget it stands for.
        name: of the image.
        label, clean_prediction, prediction: names of classes.
        outcome: what became of it, in words.
        verdict, clean_verdict: "right", "wrong", or "counts as right" of an image that a detector rejects.
        clean, adversarial, change: PNG data URIs.
        width: of the images, in pixels.
        seen: which slice of a volume, and which grey values, where that is not plain; else empty.
        ticks: labels of the colour bar: lowest, none, highest.
        unit: of the colour bar.
    """

    heading: str
    name: str
    label: str
    clean_prediction: str
    prediction: str
    outcome: str
    verdict: str
    clean_verdict: str
    clean: str
    adversarial: str
    change: str
    width: int
    seen: str
    ticks: tuple[str, str, str]
    unit: str


@dataclass(frozen=True)
class _Candidate:
    budget: float
    unit: str
    place: int
    example: int


def read_panels(store: Store, series: Series) -> list[Panel]:
    """Pictures of one attack: where the smallest budget fooled an example, and one of the largest budget.

    Args:
        store: the store.
        series: the attack.

    Returns:
        None to two panels.

    Raises:
        StoreDamaged: a file of the store is not what was written.
        ValueError: the stored images are not [P, C, H, W].
    """
    candidates = _candidates(store, series)
    if not candidates:
        return []
    rows = _rows(store, candidates)
    fooled = [one for one in candidates if rows[one.unit, one.example]["status"] == "success"]
    chosen = fooled[:1]
    largest = series.points[-1].budget
    seen = {one.example for one in chosen}
    rest = [one for one in candidates if one.budget == largest and one not in chosen]
    rest.sort(key=lambda one: (one.example in seen, one not in fooled))
    chosen += rest[:1]
    return [_panel(store, series, one, rows[one.unit, one.example]) for one in chosen]


def _candidates(store: Store, series: Series) -> list[_Candidate]:
    found = []
    for budget, receipts in sorted(series.units.items()):
        with_images = [receipt for receipt in receipts if "artifacts" in receipt.files]
        for receipt in with_images[:_UNITS_PER_BUDGET]:
            unit = receipt.unit.id
            examples = store.artifacts(unit)["examples"]
            found += [_Candidate(budget, unit, place, int(example)) for place, example in enumerate(examples)]
    return found


def _rows(store: Store, candidates: list[_Candidate]) -> dict[tuple[str, int], dict[str, Any]]:
    wanted = ", ".join(f"('{one.unit}', {one.example})" for one in candidates)
    table = store.query(
        "SELECT unit, example, name, label, clean_prediction, prediction, status "
        f"FROM rows WHERE (unit, example) IN ({wanted})",
        kind="attack",
    )
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    return {(str(row["unit"]), int(row["example"])): row for row in rows}


def _panel(store: Store, series: Series, one: _Candidate, row: dict[str, Any]) -> Panel:
    images = store.artifacts(one.unit)
    for name in ("clean", "adversarial", "change"):
        if images[name].ndim != 4:
            raise ValueError(f"write_report: {name!r} must be [P, C, H, W], got shape {images[name].shape}")
    change = images["change"][one.place]
    wording = series.wording
    limit = max(float(np.abs(change).max()), wording.largest_change(one.budget)) or wording.scale / 255
    data = store.plan["data"]
    names = list(data["class_names"])
    clean, adversarial = images["clean"][one.place], images["adversarial"][one.place]
    grey = _grey_range(clean, tuple(data.get("bounds", (0.0, 1.0))))
    rejection = store.plan["model"].get("rejection")
    label, before, after = (_answer(row[name], rejection) for name in ("label", "clean_prediction", "prediction"))
    outcome = {
        "success": "fooled",
        "failed": "not fooled",
        "already wrong": "wrong without any attack",
    }[row["status"]]
    return Panel(
        heading=f"{series.title} at {wording.budget_in_full(one.budget)}: {outcome}",
        name=str(row["name"]),
        label=class_name(label, names),
        clean_prediction=class_name(before, names),
        prediction=class_name(after, names),
        outcome=outcome,
        verdict=_verdict(after, label),
        clean_verdict=_verdict(before, label),
        clean=image_uri(_scaled(clean, grey)),
        adversarial=image_uri(_scaled(adversarial, grey)),
        change=change_uri(change, limit),
        width=change.shape[-1],
        seen=_seen(images, one.place, data, grey),
        ticks=(wording.change_value(-limit), wording.change_value(0.0), wording.change_value(limit)),
        unit=_unit(wording, len(change)),
    )


def _answer(value: Any, rejection: int | None) -> int | str:
    if isinstance(value, str):
        return value
    return REJECTED if value == rejection else int(value)


def _verdict(answer: int | str, label: int | str) -> str:
    if answer == REJECTED:
        return "counts as right"
    return "right" if answer == label else "wrong"


def _grey_range(image: Array, bounds: tuple[float, float]) -> tuple[float, float]:
    """Which intensities are shown from black to white: all of [0, 1]; of other ranges what the image is made of."""
    if bounds == (0.0, 1.0):
        return bounds
    low, high = (float(value) for value in np.percentile(image, _SHOWN_PERCENTILES))
    return (low, high) if low < high else bounds


def _scaled(image: Array, grey: tuple[float, float]) -> Array:
    low, high = grey
    return image if grey == (0.0, 1.0) else (image - low) / (high - low)


def _seen(images: dict[str, Array], place: int, data: dict[str, Any], grey: tuple[float, float]) -> str:
    parts = []
    if len(data.get("shape", [])) == 4 and "slices" in images:
        parts.append(f"slice {int(images['slices'][place]) + 1} of {data['shape'][1]}, where most changed")
    if grey != (0.0, 1.0):
        parts.append(f"black {grey[0]:.4g}, white {grey[1]:.4g}")
    return "; ".join(parts)


def _unit(wording: Wording, channels: int) -> str:
    several = ", largest of the channels" if channels > 1 else ""
    if wording.change == "gain":
        return f"gain: factor on the intensity{several}"
    counted = "fraction of the range" if wording.scale == 1 else "units of the image"
    return f"difference of intensity, {counted}{several}"
