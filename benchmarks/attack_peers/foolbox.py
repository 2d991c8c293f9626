"""Foolbox (https://github.com/bethgelab/foolbox)."""

from __future__ import annotations

from typing import Any

import foolbox as fb

from benchmarks.attack_cases import OVERSHOOT, WEIGHT, Attack, Case


def attack(case: Case) -> Attack | None:
    made = _made(case)
    if made is None:
        return None

    def run(network: Any, images: Any, targets: Any) -> Any:
        model = fb.PyTorchModel(network, bounds=(0, 1))
        # The second of three results: images clipped to the budget.
        return made(model, images, targets, epsilons=case.eps)[1]

    return run


def _made(case: Case) -> Any:
    a, steps = fb.attacks, {"steps": case.steps}
    if case.eps is not None:
        stepped = {**steps, "abs_stepsize": case.step_size}
        return {
            ("fgsm", "linf"): lambda: a.LinfFastGradientAttack(),
            ("fgsm", "l2"): lambda: a.L2FastGradientAttack(),
            ("pgd", "linf"): lambda: a.LinfPGD(**stepped),
            ("pgd", "l2"): lambda: a.L2PGD(**stepped),
            ("pgd", "l1"): lambda: a.SparseL1DescentAttack(**stepped, random_start=True),
            ("mi-fgsm", "linf"): lambda: a.LinfMomentumIterativeFastGradientMethod(**stepped),
        }.get((case.kind, case.norm), lambda: None)()
    start = a.LinearSearchBlendedUniformNoiseAttack()
    return {
        ("deepfool", "l2"): lambda: a.L2DeepFoolAttack(**steps, overshoot=OVERSHOOT),
        ("deepfool", "linf"): lambda: a.LinfDeepFoolAttack(**steps, overshoot=OVERSHOOT),
        ("carlini-wagner", "l2"): lambda: a.L2CarliniWagnerAttack(
            **steps, binary_search_steps=case.searches, initial_const=WEIGHT
        ),
        ("ddn", "l2"): lambda: a.DDNAttack(**steps),
        ("fmn", "linf"): lambda: a.LInfFMNAttack(**steps),
        ("fmn", "l2"): lambda: a.L2FMNAttack(**steps),
        ("fmn", "l1"): lambda: a.L1FMNAttack(**steps),
        ("hop-skip-jump", case.norm): lambda: a.HopSkipJumpAttack(start, **steps, constraint=case.norm),
    }.get((case.kind, case.norm), lambda: None)()
