r"""Attack a small network together with a detector of unlikely features, by attacks that know ever more of it.

    python examples/attack_a_detector.py
    python examples/attack_a_detector.py --data TRAIN --test TEST --size 96

Without --data it draws chest-film phantoms; else TRAIN and TEST are folders as in `train_chest_xray.py`. A fifth of
TRAIN is kept from training to set the detector's threshold. It takes a few minutes on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from medadv.attacks import PGD, Result, transfer
from medadv.data import ImageSet, chest_phantoms, read_images
from medadv.detectors import GaussianDetector, GuardedVictim
from medadv.models import ResidualNetwork, Victim
from medadv.models.training import fit
from medadv.objectives import HierarchicalFeatureConstraint, Margin, Undetected

LAYERS = ("stem", "stages.0", "stages.1", "stages.2", "head.3")
PENULTIMATE = LAYERS[-1]
HELD_OUT = 5  # every fifth image of the training set; classes of phantoms alternate


def load(options: argparse.Namespace) -> tuple[ImageSet, ImageSet]:
    if options.data is None:
        return chest_phantoms(1600, options.size, seed=0), chest_phantoms(options.count, options.size, seed=1)
    size = (options.size, options.size)
    training, test = (read_images(path, size=size, channels=1) for path in (options.data, options.test))
    return training, some(test, torch.arange(len(test))[:: max(1, len(test) // options.count)])


def some(data: ImageSet, rows: Tensor) -> ImageSet:
    names = tuple(data.names[row] for row in rows.tolist())
    return replace(data, images=data.images[rows.numpy()], labels=data.labels[rows.numpy()], names=names)


def tensors(data: ImageSet) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(data.images), torch.from_numpy(data.labels)


def attacks(
    victim: Victim,
    guarded: GuardedVictim,
    clean: ImageSet,
    images: Tensor,
    targets: Tensor,
    attack: PGD,
    components: int,
) -> Iterator[tuple[str, Result]]:
    """Names of attacks and what they do to the classifier with its detector, the least knowing first."""
    yield "PGD, stops at the first wrong answer", transfer(attack, victim, guarded, images, targets)
    onwards = replace(attack, stop_early=False)
    yield "PGD, all steps", transfer(onwards, victim, guarded, images, targets)
    for weight in (1.0, 10.0):
        objective = HierarchicalFeatureConstraint.fit(
            victim, LAYERS, *tensors(clean), weight=weight, components=components
        )
        hidden = replace(onwards, objective=objective)
        name = f"PGD, all steps, features constrained (weight {weight:g})"
        yield name, transfer(hidden, victim, guarded, images, targets)
    yield "PGD on classifier and detector", replace(attack, objective=Undetected(Margin()))(guarded, images, targets)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Attack a network together with a detector.")
    parser.add_argument("--data", type=Path, help="folder to train on; default phantoms")
    parser.add_argument("--test", type=Path, help="folder to attack, with --data")
    parser.add_argument("--size", type=int, default=64, help="images have SIZE x SIZE pixels")
    parser.add_argument("--count", type=int, default=200, help="images to attack")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--eps", type=float, nargs="+", default=[2.0, 4.0], help="budgets, in 255ths of the range")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--components", type=int, default=1, help="Gaussians per class that features are led to")
    options = parser.parse_args(arguments)
    if (options.data is None) != (options.test is None):
        parser.error("--data and --test go together")

    everything, test = load(options)
    numbers = torch.arange(len(everything))
    training = some(everything, numbers[numbers % HELD_OUT != 0])
    held_out = some(everything, numbers[numbers % HELD_OUT == 0])
    torch.manual_seed(0)
    network = ResidualNetwork(classes=len(everything.class_names))
    fit(network, training, epochs=options.epochs)
    victim = Victim(network)
    detector = GaussianDetector.fit(victim, PENULTIMATE, *tensors(training), tensors(held_out)[0])
    guarded = GuardedVictim(victim, detector)

    images, targets = tensors(test)
    logits = guarded.clean_logits(images, targets)
    right = victim.correct(logits[:, :-1], targets)
    rejected = guarded.rejected(logits)
    print(
        f"{len(images)} test images: accuracy {percent(right)}, rejected without attack {percent(rejected)}", flush=True
    )
    print(
        f"The {int(right.sum())} right ones under attack: answers wrong, of these detected, wrong in silence",
        flush=True,
    )
    for eps in options.eps:
        attack = PGD(eps / 255, steps=options.steps)
        given = images[right], targets[right], attack, options.components
        for name, result in attacks(victim, guarded, training, *given):
            with torch.no_grad():
                logits = guarded(result.images)
            wrong, detected = ~victim.correct(logits[:, :-1], targets[right]), guarded.rejected(logits)
            shares = percent(wrong), percent(detected[wrong]), percent(wrong & ~detected)
            print(f"{eps:g}/255  {name:58s} {shares[0]:>8} {shares[1]:>8} {shares[2]:>8}", flush=True)


def percent(values: Tensor) -> str:
    return f"{100 * float(values.double().mean()):.1f} %" if len(values) else "-"


if __name__ == "__main__":
    main()
