"""Adversarial Robustness Toolbox (https://github.com/Trusted-AI/adversarial-robustness-toolbox)."""

from __future__ import annotations

from typing import Any

import art.attacks.evasion as evasion
import torch
from art.estimators.classification import PyTorchClassifier

from benchmarks.attack_cases import OVERSHOOT, WEIGHT, Attack, Case


class Float32(torch.nn.Module):
    """NumPy 2 turns images into float64 where an attack multiplies them with one of its numbers."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.float()


def attack(case: Case) -> Attack | None:
    made = _made(case)
    if made is None:
        return None
    kind, options = made

    def run(network: Any, images: Any, targets: Any) -> Any:
        estimator = PyTorchClassifier(
            torch.nn.Sequential(Float32(), network),
            loss=torch.nn.CrossEntropyLoss(),
            input_shape=tuple(images.shape[1:]),
            nb_classes=case.classes,
            clip_values=(0, 1),
            device_type="cpu",
        )
        quiet = {} if kind is evasion.FastGradientMethod else {"verbose": False}
        changed = kind(estimator, **options, **quiet, batch_size=len(images)).generate(images.numpy(), targets.numpy())
        return torch.from_numpy(changed)

    return run


def _made(case: Case) -> tuple[type, dict[str, Any]] | None:
    """The class, and what it is made with."""
    steps = {"max_iter": case.steps}
    if case.eps is not None:
        ball = {"norm": case.order, "eps": case.eps}
        stepped = {**ball, **steps, "eps_step": case.step_size}
        apgd = {**ball, **steps, "eps_step": 2 * case.eps, "nb_random_init": 1}
        if case.kind == "fgsm":
            return evasion.FastGradientMethod, ball
        if case.kind == "mi-fgsm" and case.norm != "linf":
            return None
        return {
            "pgd": (evasion.ProjectedGradientDescentPyTorch, {**stepped, "num_random_init": 1}),
            "mi-fgsm": (evasion.MomentumIterativeMethod, stepped),
            "apgd-ce": (evasion.AutoProjectedGradientDescent, {**apgd, "loss_type": "cross_entropy"}),
            "apgd-dlr": (evasion.AutoProjectedGradientDescent, {**apgd, "loss_type": "difference_logits_ratio"}),
            "square": (evasion.SquareAttack, {**ball, **steps}),
        }.get(case.kind)
    return {
        ("hop-skip-jump", case.norm): (evasion.HopSkipJump, {**steps, "norm": case.order}),
        ("deepfool", "l2"): (evasion.DeepFool, {**steps, "epsilon": OVERSHOOT}),
        ("carlini-wagner", "l2"): (
            evasion.CarliniL2Method,
            {**steps, "binary_search_steps": case.searches, "initial_const": WEIGHT},
        ),
    }.get((case.kind, case.norm))
