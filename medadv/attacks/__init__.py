"""How the objective is raised within a budget."""

from medadv.attacks.affine_attack import AffineAttack
from medadv.attacks.attack import Attack
from medadv.attacks.bias_field_attack import BiasFieldAttack
from medadv.attacks.chain_attack import ChainAttack
from medadv.attacks.curve import budget_curve
from medadv.attacks.deformation_attack import DeformationAttack
from medadv.attacks.flow_attack import FlowAttack
from medadv.attacks.frequency_attack import FrequencyAttack
from medadv.attacks.intensity_attack import IntensityAttack
from medadv.attacks.pgd import PGD
from medadv.attacks.randomness import Draw
from medadv.attacks.result import Result, Status
from medadv.attacks.search import Search, maximise

# What the command line offers, by name.
ATTACKS: dict[str, type[Attack]] = {
    attack.name: attack
    for attack in (
        PGD,
        BiasFieldAttack,
        DeformationAttack,
        FlowAttack,
        AffineAttack,
        IntensityAttack,
        FrequencyAttack,
        ChainAttack,
    )
}

__all__ = [
    "ATTACKS",
    "PGD",
    "AffineAttack",
    "Attack",
    "BiasFieldAttack",
    "ChainAttack",
    "DeformationAttack",
    "Draw",
    "FlowAttack",
    "FrequencyAttack",
    "IntensityAttack",
    "Result",
    "Search",
    "Status",
    "budget_curve",
    "maximise",
]
