"""What a command prints on stdout when an evaluation is there: a short table, or one JSON object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from medadv._optional import require
from medadv.cli.errors import InputError, sentence
from medadv.report import write_report
from medadv.report.results import Rate, Results, read_results
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
        raise InputError(sentence(error)) from None
    results = read_results(store)
    click = require("click", extra="lab")
    click.echo(json.dumps(_object(store, results, out), indent=1) if as_json else _table(results, out))


def _table(results: Results, out: Path) -> str:
    lines = [f"{'attack':<16}{'budget':>10}{'accuracy':>10}   95 % interval"]
    lines.append(_line("none", "", results.clean))
    for series in results.series:
        lines += [_line(series.title, series.wording.budget(point.budget), point.robust) for point in series.points]
    lines.append(_line("worst per image", "largest", results.worst))
    outcomes = [check.outcome for check in results.checks]
    lines.append("")
    lines.append(
        f"Trust checks: {outcomes.count('passed')} passed, {outcomes.count('failed')} failed, "
        f"{outcomes.count('not run')} not run"
    )
    lines += [f"  {check.number} failed: {check.sentence}" for check in results.checks if check.outcome == "failed"]
    if results.missing:
        lines.append(f"Unfinished: {results.missing} of {results.planned} units are not done yet")
    lines.append(f"Report: {out}")
    return "\n".join(lines)


def _line(attack: str, budget: str, rate: Rate) -> str:
    interval = f"{100 * rate.low:.1f} to {100 * rate.high:.1f} %"
    return f"{attack:<16}{budget:>10}{100 * rate.value:>8.1f} %   {interval}"


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
        "attacks": attacks,
        "checks": [
            {"check": each.number, "outcome": each.outcome, "sentence": each.sentence} for each in results.checks
        ],
        "missing_units": results.missing,
    }


def _rate(rate: Rate) -> dict[str, Any]:
    return {"count": rate.count, "total": rate.total, "accuracy": rate.value, "low": rate.low, "high": rate.high}
