"""From a store to one self-contained HTML file."""

from __future__ import annotations

import json
import os
import uuid
from importlib.resources import files
from pathlib import Path
from typing import Any

from medadv._optional import require
from medadv.report import wording
from medadv.report.attacked import attacked, detector_text
from medadv.report.figures import accuracy_curve
from medadv.report.images import colour_bar_uri
from medadv.report.panels import read_panels
from medadv.report.results import Check, Distances, Rate, Results, Series, read_results
from medadv.sweep.store import Receipt, Store

# A failure of one of these makes the robust accuracy itself untrustworthy, not only less complete.
_DECISIVE_CHECKS = {"C2", "C3", "C5", "C6", "C7", "C9", "C12", "C14", "C15", "C17"}

# Shares of the right examples for which the smallest change that suffices is told.
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


def write_report(store: Store, path: str | os.PathLike[str]) -> Path:
    """Write the report of a sweep: one HTML file without scripts, that opens offline.

    Args:
        store: with at least one committed unit of kind "attack".
        path: the file; replaced if it exists.

    Returns:
        The path. The file appears whole or not at all, and the same store gives the same bytes.

    Raises:
        StoreDamaged: a file of the store is not what was written.
        ValueError: no attack is committed.
    """
    target = Path(path)
    text = _render(store)
    draft = target.parent / f".{target.name}.{uuid.uuid4().hex}.tmp"
    try:
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)
    return target


def _render(store: Store) -> str:
    jinja2 = require("jinja2", extra="lab")
    markup = require("markupsafe", extra="lab").Markup
    folder = files("medadv.report")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        moment=wording.moment,
        percent=wording.percent,
        number=wording.percent_number,
        count=wording.count,
        mean=wording.mean_count,
        advice=wording.advice,
    )
    template = environment.from_string((folder / "report.html").read_text(encoding="utf-8"))
    results = read_results(store)
    failed = [check for check in results.checks if check.outcome == "failed"]
    text: str = template.render(
        css=markup((folder / "report.css").read_text(encoding="utf-8")),
        plan=store.plan,
        results=results,
        figures=[markup(accuracy_curve(series, results.clean)) for series in results.series],
        panels=[read_panels(store, series) for series in results.series],
        findings=[_finding(series, results.clean) for series in results.series],
        smallest=[(series, _quantiles(series)) for series in results.series if series.distances],
        attacked=attacked(store.plan["model"], results),
        decisive=[check for check in failed if check.number in _DECISIVE_CHECKS],
        failed=[check for check in failed if check.number not in _DECISIVE_CHECKS],
        colour_bar=colour_bar_uri(),
        origin=_origin(store, results),
        configurations=_configurations(results),
        several=store.plan["model"].get("task") == "multilabel",
        units=_units(results, store.plan["data"].get("bounds", [0.0, 1.0])),
        shares=[wording.percent(share) for share in QUANTILES],
        data=json.dumps(_data(store, results), indent=1, allow_nan=False),
    )
    return text


def _finding(series: Series, clean: Rate) -> str:
    """What an attack does at its largest budget, in one sentence; or how little it needs."""
    if series.distances is not None:
        return _smallest(series, series.distances)
    point = series.points[-1]
    budget = series.wording.budget_in_full(point.budget)
    if point.robust.count == clean.count:
        return f"At {budget}, {series.wording.subject} changes no right answer into a wrong one."
    return (
        f"At {budget}, {series.wording.subject} lowers accuracy from {wording.percent(clean.value)} to "
        f"{wording.percent(point.robust.value)} (95{wording.THIN_SPACE}% interval {interval(point.robust)})."
    )


def _smallest(series: Series, distances: Distances) -> str:
    fooled = f"fools {len(distances.found)} of the {distances.right} images that are right at first"
    median = distances.quantile(0.5)
    if median is None:
        return f"{series.title} {fooled}."
    return f"{series.title} {fooled}; for half of them {series.wording.budget_in_full(median)} suffices."


def _units(results: Results, bounds: list[float]) -> list[str]:
    """In what the budgets of the attacks that were run are counted, in sentences."""
    units = {series.wording.unit for series in results.series}
    of_noise = "fractions of the intensity range (4/255: four grey levels of an 8-bit image)"
    if bounds != [0, 1]:
        of_noise = f"in units of the image, whose range is {bounds[0]:g} to {bounds[1]:g}"
    sentences = {
        "fraction": f"Budgets of noise are {of_noise}.",
        "gain": "A gain of ×1.30 lets the bias field brighten or darken any place by a factor of up to 1.30.",
        "voxels": "No voxel (vx) is moved further than the displacement.",
        "strength": "A share of 50 % allows half of each limit that the configuration of the attack, below, names.",
        "levels": "Coefficients of the cosine transform are rounded to steps of at most so many 255ths of the range.",
        "gamma": "A gamma of 1.3 stands for all from 1/1.3 to 1.3.",
    }
    return [sentence for unit, sentence in sentences.items() if unit in units]


def _quantiles(series: Series) -> list[str]:
    """The distances that suffice for some shares of the right examples, as texts."""
    assert series.distances is not None
    values = [series.distances.quantile(share) for share in QUANTILES]
    return ["–" if value is None else series.wording.budget(value) for value in values]


def interval(rate: Rate) -> str:
    """The ends of a rate's interval, in per cent.

    >>> interval(Rate(8, 10)).replace(wording.THIN_SPACE, " ")
    '49 to 94 %'
    """
    return f"{wording.percent_number(rate.low)} to {wording.percent(rate.high)}"


def _origin(store: Store, results: Results) -> list[tuple[str, str]]:
    """Where the numbers come from, as names and values."""
    plan = store.plan
    several = plan["model"].get("task") == "multilabel"
    receipts = store.receipts()
    versions = plan.get("versions", {})
    model = plan["model"]
    facts = [
        ("Model", plan["model"]["source"]),
        ("Task", plan["model"].get("task", "")),
        ("SHA-256 of the weights", plan["model"]["sha256"]),
        ("Attacked as", "" if model.get("kind") == "Victim" else model.get("kind", "")),
        ("Normalised by", _normalisation(model)),
        ("Draws", f"{model['draws']}, seed {model['seed']}" if "draws" in model else ""),
        ("Detector", detector_text(model["detector"]) if "detector" in model else ""),
        ("SHA-256 of the detector", model.get("detector", {}).get("sha256")),
        ("Data", plan["data"]["path"]),
        ("SHA-256 of the data", plan["data"]["sha256"]),
        ("Findings" if several else "Classes", ", ".join(plan["data"]["class_names"])),
        ("Shape of an image", " × ".join(map(str, plan["data"].get("shape", [])))),
        ("Range of intensities", " to ".join(f"{end:g}" for end in plan["data"].get("bounds", []))),
        ("Seed", ", ".join(map(str, _seeds(plan, receipts)))),
        ("medadv", plan.get("medadv", "")),
        *((name, str(value)) for name, value in versions.items()),
        ("Machine", ", ".join(sorted({receipt.host for receipt in receipts}))),
        ("Planned", wording.moment(plan.get("created", ""))),
        ("Measured", _period(receipts)),
        ("Computing time", _seconds(receipts)),
        (
            "Passes of single images, trust checks left out",
            f"{wording.count(results.forwards)} forward, {wording.count(results.backwards)} backward",
        ),
        ("SHA-256 of the plan", store.plan_sha256),
        ("Committed units", f"{len(receipts)}"),
    ]
    return [(name, str(value)) for name, value in facts if value not in ("", None)]


def _normalisation(model: dict[str, Any]) -> str:
    """Mean and standard deviation by which images are normalised outside the network; nothing where they are not."""
    found = [
        f"{name} {', '.join(f'{value:g}' for value in model[name])}" for name in ("mean", "std") if model.get(name)
    ]
    return "; ".join(found)


def _seeds(plan: dict[str, Any], receipts: list[Receipt]) -> list[Any]:
    seeds = {receipt.unit.fields["seed"] for receipt in receipts if "seed" in receipt.unit.fields}
    return sorted(seeds) or [plan.get("seed", "")]


def _period(receipts: list[Receipt]) -> str:
    times = sorted(wording.moment(receipt.committed) for receipt in receipts)
    return times[0] if times[0] == times[-1] else f"{times[0]} to {times[-1]}"


def _seconds(receipts: list[Receipt]) -> str:
    known = [receipt.facts["seconds"] for receipt in receipts if "seconds" in receipt.facts]
    return f"{sum(known):.1f} s" if known else ""


def _configurations(results: Results) -> list[tuple[str, list[tuple[str, str]]]]:
    return [
        (
            series.title,
            [
                ("budgets", ", ".join(series.wording.budget(point.budget) for point in series.points)),
                ("curve", series.curve),
                *((name, _plain(value)) for name, value in sorted(series.configuration.items())),
            ],
        )
        for series in results.series
    ]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _data(store: Store, results: Results) -> dict[str, Any]:
    """The table, for machines; every float is finite."""
    return {
        "medadv": store.plan.get("medadv"),
        "model": store.plan["model"],
        "data": store.plan["data"],
        "plan_sha256": store.plan_sha256,
        "clean_accuracy": _rate(results.clean),
        "worst_case": _rate(results.worst),
        "rejected_without_attack": None if results.rejected is None else _rate(results.rejected),
        "attacks": [
            {
                "attack": series.title,
                "configuration": series.configuration,
                "budget": point.budget,
                "robust_accuracy": _rate(point.robust),
                "success_rate": _rate(point.success),
                "median_distance": point.median_distance,
                "mean_forwards": point.forwards,
                "mean_backwards": point.backwards,
            }
            for series in results.series
            for point in series.points
        ],
        "smallest_changes": [
            {
                "attack": series.title,
                "configuration": series.configuration,
                "right_at_first": series.distances.right,
                "fooled": len(series.distances.found),
                "quantiles": {f"{share:g}": series.distances.quantile(share) for share in QUANTILES},
            }
            for series in results.series
            if series.distances is not None
        ],
        "checks": [_check(check) for check in results.checks],
        "missing_units": results.missing,
        "circumstances": results.circumstances,
    }


def _rate(rate: Rate) -> dict[str, Any]:
    return {
        "count": rate.count,
        "total": rate.total,
        "value": rate.value if rate.total else None,
        "low": rate.low,
        "high": rate.high,
    }


def _check(check: Check) -> dict[str, str]:
    return {
        "check": check.number,
        "title": check.title,
        "outcome": check.outcome,
        "sentence": check.sentence,
    }
