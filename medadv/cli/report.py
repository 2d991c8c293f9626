"""`medadv report`: the report of a store."""

from __future__ import annotations

from pathlib import Path

from medadv._optional import require
from medadv.cli.errors import DamagedError, InputError, sentence
from medadv.sweep.store import Store, StoreDamaged

click = require("click", extra="lab")


@click.command(short_help="Write the report of a finished or unfinished evaluation.")
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="File to write; default: report.html in the store.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def report(store: Path, out: Path | None, as_json: bool) -> None:
    """Write the report of the evaluation in STORE, also of an unfinished one."""
    from medadv.cli.summary import finish

    try:
        finish(Store.open(store), out or store / "report.html", as_json)
    except StoreDamaged as error:
        raise DamagedError(sentence(error)) from None
    except (ValueError, OSError) as error:
        raise InputError(sentence(error)) from None
