"""What a command prints on stdout when an evaluation is there: a short table, or one JSON object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from medadv._optional import require
from medadv.cli.errors import InputError, sentence
from medadv.report import write_report
from medadv.report.attacked import attacked
from medadv.report.results import Distances, Rate, Results, Series, read_results
from medadv.report.wording import Wording
from medadv.sweep.store import Store


def finish(store: Store, out: Path, as_json: bool) -> None:
    """Write the report, and print where it is and what it says.

    Args:
        store: with committed attacks.
        out: file of the report.
        as_json: one JSON object instead of a table.

    Raises:
        InputError: the report cannot be written there.
    """
    try:
        write_report(store, out)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror or sentence(error)})") from None
    results = read_results(store)
    click = require("click", extra="lab")
    click.echo(json.dumps(_object(store, results, out), indent=1) if as_json else _table(store, results, out))


def _table(store: Store, results: Results, out: Path) -> str:
    rows = [("none", "", results.clean)]
    for series in results.series:
        rows += [(series.title, _budget(series.wording, point.budget), point.robust) for point in series.points]
    rows.append(("all attacks", "largest", results.worst))
    width = max(len(attack) for attack, _, _ in rows)
    lines = [f"{'attack':<{width}}{'budget':>13}{'accuracy':>10}   95 % interval"]
    lines += [_line(f"{attack:<{width}}", budget, rate) for attack, budget, rate in rows]
    for series in results.series:
        if series.distances is not None:
            lines.append(_smallest(series, series.distances))
    outcomes = [check.outcome for check in results.checks]
    lines += ["", *attacked(store.plan["model"], results)]
    counts = ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in ("passed", "failed", "not run"))
    lines.append(f"Trust checks: {counts if outcomes else 'none was run'}")
    lines += [f"  {check.number} failed: {check.sentence}" for check in results.checks if check.outcome == "failed"]
    if results.missing:
        lines.append(f"Unfinished: {results.missing} of {results.planned} units are not done yet")
    if results.circumstances:
        lines.append(results.circumstances)
    lines.append(f"Report: {out}")
    return "\n".join(lines)


def _line(attack: str, budget: str, rate: Rate) -> str:
    interval = f"{100 * rate.low:.1f} to {100 * rate.high:.1f} %"
    return f"{attack}{budget:>13}{100 * rate.value:>8.1f} %   {interval}"


def _budget(wording: Wording, value: float) -> str:
    return f"{wording.budget(value)} units" if wording.in_units else wording.budget(value)


def _smallest(series: Series, distances: Distances) -> str:
    median = distances.quantile(0.5)
    needed = "found for less than half of them" if median is None else f"median {_budget(series.wording, median)}"
    return f"{series.title}: smallest change of {len(distances.found)} of {distances.right} right images, {needed}"


def _object(store: Store, results: Results, out: Path) -> dict[str, Any]:
    attacks = [
        {"attack": point_units[0].unit.fields["attack"], "budget": point.budget, **_rate(point.robust)}
        for series in results.series
        for point, point_units in zip(series.points, series.units.values(), strict=True)
    ]
    return {
        "store": str(store.path),
        "report": str(out),
        "clean_accuracy": _rate(results.clean),
        "worst_case": _rate(results.worst),
        "rejected_without_attack": None if results.rejected is None else _rate(results.rejected),
        "attacks": attacks,
        "smallest_changes": [
            {
                "attack": next(iter(series.units.values()))[0].unit.fields["attack"],
                "right": series.distances.right,
                "fooled": len(series.distances.found),
                "median": series.distances.quantile(0.5),
            }
            for series in results.series
            if series.distances is not None
        ],
        "checks": [
            {"check": each.number, "outcome": each.outcome, "sentence": each.sentence} for each in results.checks
        ],
        "missing_units": results.missing,
        "circumstances": results.circumstances,
    }


def _rate(rate: Rate) -> dict[str, Any]:
    return {"count": rate.count, "total": rate.total, "accuracy": rate.value, "low": rate.low, "high": rate.high}
