"""How the objective is raised within a budget."""

from medadv.attacks.attack import Attack
from medadv.attacks.base_attack import BaseAttack
from medadv.attacks.bias_field_attack import BiasFieldAttack
from medadv.attacks.budgeted_attack import BudgetedAttack
from medadv.attacks.carlini_wagner import CarliniWagner
from medadv.attacks.curve import budget_curve
from medadv.attacks.ddn import DDN
from medadv.attacks.deepfool import DeepFool
from medadv.attacks.fab import FAB
from medadv.attacks.fmn import FMN
from medadv.attacks.hop_skip_jump import HopSkipJump
from medadv.attacks.minimum_norm_attack import MinimumNormAttack
from medadv.attacks.pgd import PGD
from medadv.attacks.random_noise import RandomNoise, random_changes
from medadv.attacks.randomness import Draw
from medadv.attacks.result import Result, Status
from medadv.attacks.search import Search, maximise
from medadv.attacks.square import Square
from medadv.attacks.transfer import transfer

ATTACKS: dict[str, type[Attack]] = {"pgd": PGD, "bias-field": BiasFieldAttack}

__all__ = [
    "ATTACKS",
    "DDN",
    "FAB",
    "FMN",
    "PGD",
    "Attack",
    "BaseAttack",
    "BiasFieldAttack",
    "BudgetedAttack",
    "CarliniWagner",
    "DeepFool",
    "Draw",
    "HopSkipJump",
    "MinimumNormAttack",
    "RandomNoise",
    "Result",
    "Search",
    "Square",
    "Status",
    "budget_curve",
    "maximise",
    "random_changes",
    "transfer",
]
