"""``python -m studies.bias_field --data DIR --out DIR``: bias fields beside noise."""

from __future__ import annotations

from studies._common.command import main
from studies.bias_field.configuration import QUICK, Configuration
from studies.bias_field.study import BiasFieldStudy

if __name__ == "__main__":
    main(BiasFieldStudy(Configuration()), BiasFieldStudy(QUICK))
