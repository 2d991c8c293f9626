"""``python -m studies.stabilised --data DIR --out DIR``: the stabilised attack beside plain ones."""

from __future__ import annotations

from studies._common.command import main
from studies.stabilised.configuration import QUICK, Configuration
from studies.stabilised.study import StabilisedStudy

if __name__ == "__main__":
    main(StabilisedStudy(Configuration()), StabilisedStudy(QUICK))
