"""torchattacks (https://github.com/Harry24k/adversarial-attacks-pytorch); images in [0, 1] only.

Its `AutoAttack` makes 10 steps where the paper makes 100; here its parts are put together with the steps of the case.
"""

from __future__ import annotations

from typing import Any

import torchattacks as ta

from benchmarks.attack_cases import BLUR_RADIUS, NEIGHBOURS, OVERSHOOT, SCALES, TRANSFER, WEIGHT, Attack, Case

NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}
FARTHEST = 100.0  # FAB takes for found only what is nearer than this


def attack(case: Case) -> Attack | None:
    if case.kind == "autoattack":
        return _auto_attack(case)
    found = _options(case)
    if found is None:
        return None
    kind, options = found
    return lambda network, images, targets: kind(network, **options)(images, targets)


def _options(case: Case) -> tuple[type, dict[str, Any]] | None:
    """The class, and what it is made with."""
    steps = {"steps": case.steps}
    norm, seed = {"norm": NORMS[case.norm]}, {"seed": case.seed}
    if case.eps is None:
        fab = {**norm, **steps, **seed, "n_classes": case.classes, "eps": FARTHEST}
        if case.kind == "carlini-wagner" and case.searches > 1:
            return None  # it tries one weight
        return {
            ("deepfool", "l2"): (ta.DeepFool, {**steps, "overshoot": OVERSHOOT}),
            ("carlini-wagner", "l2"): (ta.CW, {**steps, "c": WEIGHT}),
            ("fab", case.norm): (ta.FAB, fab),
            ("fab-t", case.norm): (ta.FAB, {**fab, "multi_targeted": True}),
        }.get((case.kind, case.norm))
    ball = {"eps": case.eps}
    stepped = {**ball, **steps, "alpha": case.step_size}
    apgd = {**ball, **norm, **steps, **seed}
    if case.norm == "l1" or (case.norm == "l2" and case.kind in ("fgsm", *TRANSFER)):
        return None
    return {
        "fgsm": (ta.FGSM, ball),
        "pgd": (ta.PGD if case.norm == "linf" else ta.PGDL2, stepped),
        "mi-fgsm": (ta.MIFGSM, stepped),
        "ni-fgsm": (ta.NIFGSM, stepped),
        "si-ni-fgsm": (ta.SINIFGSM, {**stepped, "m": SCALES}),
        "di-fgsm": (ta.DIFGSM, {**stepped, "decay": 1.0}),
        # Never diverse, so that only the translations count.
        "ti-fgsm": (ta.TIFGSM, {**stepped, "decay": 1.0, "diversity_prob": 0.0, "len_kernel": 2 * BLUR_RADIUS + 1}),
        "vmi-fgsm": (ta.VMIFGSM, {**stepped, "N": NEIGHBOURS}),
        "apgd-ce": (ta.APGD, {**apgd, "loss": "ce"}),
        "apgd-dlr": (ta.APGD, {**apgd, "loss": "dlr"}),
        "apgd-t": (ta.APGDT, {**apgd, "n_classes": case.classes}),
        "square": (ta.Square, {**ball, **norm, **seed, "n_queries": case.steps}),
    }.get(case.kind)


def _auto_attack(case: Case) -> Attack | None:
    if case.norm == "l1":
        return None
    ball = {"norm": NORMS[case.norm], "eps": case.eps, "seed": case.seed}

    def run(network: Any, images: Any, targets: Any) -> Any:
        parts = [
            ta.APGD(network, **ball, steps=case.steps, loss="ce"),
            ta.APGDT(network, **ball, steps=case.steps, n_classes=case.classes),
            ta.FAB(network, **ball, steps=case.steps, multi_targeted=True, n_classes=case.classes),
            ta.Square(network, **ball, n_queries=10 * case.steps),
        ]
        return ta.MultiAttack(parts)(images, targets)

    return run
