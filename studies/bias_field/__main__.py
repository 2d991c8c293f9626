"""``python -m studies.bias_field --data DIR --out DIR``: bias fields beside noise."""

from __future__ import annotations

from medadv.cli.threads import share_the_cores

if __name__ == "__main__":
    share_the_cores()  # which must be said before torch is imported
    from studies._common.command import main
    from studies.bias_field.configuration import QUICK, Configuration
    from studies.bias_field.study import BiasFieldStudy

    main(BiasFieldStudy(Configuration()), BiasFieldStudy(QUICK))
