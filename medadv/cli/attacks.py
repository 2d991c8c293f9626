"""`medadv attacks`: what there is to attack with."""

from __future__ import annotations

import json
from typing import Any

from medadv._optional import require
from medadv.cli.budgets import default_budgets, unit_of
from medadv.cli.catalogue import GRADIENT, Entry, catalogue, objectives
from medadv.cli.errors import InputError

click = require("click", extra="lab")

_WIDTH = 98


@click.command(short_help="List the attacks, their units and budgets; of one, its options.")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def attacks(name: str | None, as_json: bool) -> None:
    """List the attacks with their units and default budgets; of one NAME, its options."""
    entries = list(catalogue().values())
    if name is not None:
        if name not in catalogue():
            raise InputError(f"{name}: unknown attack, choose from {', '.join(catalogue())}")
        entries = [catalogue()[name]]
    if as_json:
        click.echo(json.dumps({entry.name: _object(entry) for entry in entries}, indent=1))
    elif name is not None:
        click.echo(_in_full(entries[0]))
    else:
        click.echo("\n".join(map(_in_short, entries)))


def _in_short(entry: Entry) -> str:
    goal = "smallest change" if entry.budget_field is None else "budget"
    return f"{entry.name:<20}{entry.line}\n{'':<20}{goal}: {unit_of(entry)}; default {_budgets(entry)}"


def _in_full(entry: Entry) -> str:
    lines = [_in_short(entry), "", f"Options, as in --attack {entry.name}:NAME=VALUE,NAME=VALUE:"]
    lines += [f"  {name:<26}{default}" for name, default in entry.options.items()]
    if "objective" in entry.options:
        lines += ["", f"objective is one of: {', '.join(objectives())}"]
    classes = [entry.class_name, *(["Gradient"] if any(name.startswith(GRADIENT) for name in entry.options) else [])]
    lines += ["", f"What they mean: {', '.join(f'help(medadv.attacks.{name})' for name in classes)} in Python"]
    return "\n".join(lines)


def _budgets(entry: Entry) -> str:
    values = default_budgets(entry.name, entry.budget_field, entry.norm)
    return ", ".join(map(_number, values)) if values else "none"


def _number(value: float) -> str:
    """A budget as it would be typed.

    >>> _number(4 / 255), _number(0.25)
    ('4/255', '0.25')
    """
    steps = value * 255
    return f"{round(steps)}/255" if steps > 0.5 and abs(steps - round(steps)) < 1e-9 and value < 1 else f"{value:g}"


def _object(entry: Entry) -> dict[str, Any]:
    return {
        "what": entry.line,
        "looks_for_smallest_change": entry.budget_field is None,
        "unit": unit_of(entry),
        "default_budgets": list(default_budgets(entry.name, entry.budget_field, entry.norm)),
        "options": entry.options,
        "class": f"medadv.attacks.{entry.class_name}",
    }
