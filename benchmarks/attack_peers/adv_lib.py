"""adv-lib (https://github.com/jeromerony/adversarial-library).

It imports torchvision and visdom for distances and plots that no attack here needs; where they are missing, they are
stood in for while it is imported.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import MagicMock

from benchmarks.attack_cases import OVERSHOOT, WEIGHT, Attack, Case


@contextmanager
def _without_plots() -> Iterator[None]:
    missing = [name for name in ("torchvision", "visdom") if importlib.util.find_spec(name) is None]
    sys.modules.update({name: MagicMock() for name in missing})
    yield
    for name in missing:
        del sys.modules[name]


with _without_plots():
    import adv_lib.attacks as al


def attack(case: Case) -> Attack | None:
    order, steps, goals = case.order, case.steps, min(case.classes, 10) - 1
    if case.eps is not None:
        ball = {"eps": case.eps, "norm": order, "n_iter": steps}
        found = {
            "apgd-ce": (al.apgd, {**ball, "loss_function": "ce"}),
            "apgd-dlr": (al.apgd, {**ball, "loss_function": "dlr"}),
            "apgd-t": (al.apgd_targeted, {**ball, "num_targets": goals}),
        }
        if case.norm == "linf":
            found["pgd"] = (al.pgd_linf, {"ε": case.eps, "steps": steps, "absolute_step_size": case.step_size})
        chosen = found.get(case.kind)
    else:
        fab = {"n_iter": steps, "norm": order}
        weights = {"max_iterations": steps, "binary_search_steps": case.searches, "initial_const": WEIGHT}
        chosen = {
            ("deepfool", case.norm): (al.df, {"steps": steps, "norm": order, "overshoot": OVERSHOOT}),
            ("carlini-wagner", "l2"): (al.carlini_wagner_l2, weights),
            ("ddn", "l2"): (al.ddn, {"steps": steps, "levels": None}),
            ("fmn", case.norm): (al.fmn, {"steps": steps, "norm": order}),
            ("fab", case.norm): (al.fab, fab),
            ("fab-t", case.norm): (al.fab, {**fab, "restarts": goals, "targeted_restarts": True}),
        }.get((case.kind, case.norm))
    if chosen is None:
        return None
    function, options = chosen
    return lambda network, images, targets: function(network, images, targets, **options)
