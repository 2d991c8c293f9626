"""`python -m medadv`: the program where it is not on the path."""

from __future__ import annotations

from medadv.cli.main import main

if __name__ == "__main__":
    main(name="python -m medadv")
