"""`medadv demo`."""

from medadv._optional import require

click = require("click", extra="lab")


@click.command()
def demo() -> None:
    """x"""
