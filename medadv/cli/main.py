"""The program `medadv`."""

from __future__ import annotations

import sys
from typing import Any

import medadv
from medadv._optional import require

click = require("click", extra="lab")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(medadv.__version__, prog_name="medadv")
def program() -> None:
    """Measure how a medical-imaging network withstands noise, bias fields, motion and more.

    Exit codes: 0 done; 2 wrong usage or input; 3 a file that is not trusted; 4 a damaged store; 75 interrupted, the
    command that continues is printed.
    """


def _add_commands() -> None:
    from medadv.cli.attacks import attacks
    from medadv.cli.demo import demo
    from medadv.cli.evaluate import evaluate
    from medadv.cli.report import report
    from medadv.cli.verify import verify

    for command in (evaluate, attacks, report, verify, demo):
        program.add_command(command)


_add_commands()


def main(arguments: list[str] | None = None, name: str = "medadv") -> Any:
    """Run the program; exits.

    Args:
        arguments: default: those of the process.
        name: how it was called.
    """
    return program.main(args=sys.argv[1:] if arguments is None else arguments, prog_name=name)
