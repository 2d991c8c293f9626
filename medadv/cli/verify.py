"""`medadv verify`: is a store what was written?"""

from __future__ import annotations

from pathlib import Path

from medadv._optional import require
from medadv.cli.errors import DamagedError, InputError, sentence
from medadv.sweep.circumstances import told_apart
from medadv.sweep.store import Store, StoreDamaged

click = require("click", extra="lab")


@click.command(short_help="Compare every file of an evaluation with its SHA-256.")
@click.argument("store", type=click.Path(path_type=Path))
def verify(store: Path) -> None:
    """Read every file of STORE and compare it with its SHA-256."""
    try:
        opened = Store.open(store)
        damage = opened.verify()
    except StoreDamaged as error:
        raise DamagedError(sentence(error)) from None
    except (ValueError, OSError) as error:
        raise InputError(sentence(error)) from None
    if damage:
        for each in damage[:-1]:
            click.echo(f"Damaged: {each}", err=True)
        raise DamagedError(
            f"{damage[-1]} ({len(damage)} damaged in all; where a unit's file in receipts/ is removed, medadv evaluate "
            "--resume does it anew)"
        )
    done, planned = opened.done(), set(opened.plan.get("units", []))
    click.echo(f"Sound: {len(done)} units; {len(planned & done)} of {len(planned)} planned units are done")
    differing = told_apart(opened.receipts())
    if differing:
        click.echo(differing)
