"""How much of what an attack does to another model it does to the victim."""

from __future__ import annotations

from dataclasses import dataclass

from medadv.sweep.curve import Curve
from medadv.sweep.sample import Sample, describe


@dataclass(frozen=True)
class Transfer:
    """An attack that was made on another model.

    Args:
        title: the attack and its budget.
        source: the other model.
        fooled: how many images of the sample fool that model.
        lost: how many of those the victim gets right.
    """

    title: str
    source: str
    fooled: int
    lost: int

    def __str__(self) -> str:
        return (
            f"{self.title} made on {self.source}: {self.lost} of the {self.fooled} images that fool it do not transfer"
        )


def transfer_of(curve: Curve, step: int, sample: Sample) -> Transfer:
    """Make an attack on the other model, and show the victim what came of it.

    Args:
        curve: the attack, and the surrogate that it is made on.
        step: index of the budget.
        sample: the images.

    Returns:
        How many images transfer.
    """
    assert curve.surrogate is not None
    attack = curve.attacks[step]
    found = attack(curve.surrogate.victim, sample.images, sample.targets, sample.ids)
    rows = found.success.nonzero().flatten()
    right = ~sample.wrong(found.images[rows], rows) if len(rows) else found.success[:0]
    return Transfer(describe(attack), curve.surrogate.source, len(rows), int(right.sum()))
