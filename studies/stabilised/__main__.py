"""``python -m studies.stabilised --data DIR --out DIR``: the stabilised attack beside plain ones."""

from __future__ import annotations

from medadv.cli.threads import share_the_cores

if __name__ == "__main__":
    share_the_cores()  # which must be said before torch is imported
    from studies._common.command import main
    from studies.stabilised.configuration import QUICK, Configuration
    from studies.stabilised.study import StabilisedStudy

    main(StabilisedStudy(Configuration()), StabilisedStudy(QUICK))
