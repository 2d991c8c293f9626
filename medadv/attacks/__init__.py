"""How the objective is raised within a budget."""

from medadv.attacks.adef import ADef
from medadv.attacks.adversarial_smooth_bias_field import AdversarialSmoothBiasField
from medadv.attacks.affine_attack import AffineAttack
from medadv.attacks.apgd import APGD
from medadv.attacks.attack import Attack
from medadv.attacks.auto_attack import AutoAttack, auto_attack
from medadv.attacks.base_attack import BaseAttack
from medadv.attacks.bias_field_attack import BiasFieldAttack
from medadv.attacks.bim import BIM
from medadv.attacks.budgeted_attack import BudgetedAttack
from medadv.attacks.carlini_wagner import CarliniWagner
from medadv.attacks.chain_attack import ChainAttack
from medadv.attacks.curve import budget_curve
from medadv.attacks.ddn import DDN
from medadv.attacks.deepfool import DeepFool
from medadv.attacks.deformation_attack import DeformationAttack
from medadv.attacks.di_fgsm import DIFGSM
from medadv.attacks.ensemble import Ensemble, EnsembleResult
from medadv.attacks.fab import FAB
from medadv.attacks.fgsm import FGSM
from medadv.attacks.flow_attack import FlowAttack
from medadv.attacks.fmn import FMN
from medadv.attacks.frequency_attack import FrequencyAttack
from medadv.attacks.hop_skip_jump import HopSkipJump
from medadv.attacks.intensity_attack import IntensityAttack
from medadv.attacks.mi_fgsm import MIFGSM
from medadv.attacks.minimum_norm.minimum_norm_attack import MinimumNormAttack
from medadv.attacks.ni_fgsm import NIFGSM
from medadv.attacks.pgd import PGD
from medadv.attacks.random_noise import RandomNoise, random_changes
from medadv.attacks.random_search import random_search
from medadv.attacks.randomness import Draw
from medadv.attacks.result import Result, Status
from medadv.attacks.search.diversity import Diversity
from medadv.attacks.search.gradient import Gradient
from medadv.attacks.search.search import Search, maximise
from medadv.attacks.si_ni_fgsm import SINIFGSM
from medadv.attacks.square import Square
from medadv.attacks.stabilised import StabilisedMedicalAttack
from medadv.attacks.ti_fgsm import TIFGSM
from medadv.attacks.transfer import transfer, transferred
from medadv.attacks.universal import Universal
from medadv.attacks.universal_change import UniversalChange
from medadv.attacks.vmi_fgsm import VMIFGSM

# What the command line offers, by name; medadv/cli/catalogue.py reads this list, and the classes, as text.
ATTACKS: dict[str, type[BudgetedAttack] | type[MinimumNormAttack]] = {
    kind.name: kind
    for kind in (
        PGD,
        BiasFieldAttack,
        AdversarialSmoothBiasField,
        FGSM,
        BIM,
        MIFGSM,
        NIFGSM,
        SINIFGSM,
        DIFGSM,
        TIFGSM,
        VMIFGSM,
        APGD,
        StabilisedMedicalAttack,
        DeformationAttack,
        FlowAttack,
        AffineAttack,
        IntensityAttack,
        FrequencyAttack,
        ChainAttack,
        Square,
        RandomNoise,
        AutoAttack,
        DeepFool,
        CarliniWagner,
        DDN,
        FMN,
        FAB,
        HopSkipJump,
        ADef,
    )
}

__all__ = [
    "APGD",
    "ATTACKS",
    "BIM",
    "DDN",
    "DIFGSM",
    "FAB",
    "FGSM",
    "FMN",
    "MIFGSM",
    "NIFGSM",
    "PGD",
    "SINIFGSM",
    "TIFGSM",
    "VMIFGSM",
    "ADef",
    "AdversarialSmoothBiasField",
    "AffineAttack",
    "Attack",
    "AutoAttack",
    "BaseAttack",
    "BiasFieldAttack",
    "BudgetedAttack",
    "CarliniWagner",
    "ChainAttack",
    "DeepFool",
    "DeformationAttack",
    "Diversity",
    "Draw",
    "Ensemble",
    "EnsembleResult",
    "FlowAttack",
    "FrequencyAttack",
    "Gradient",
    "HopSkipJump",
    "IntensityAttack",
    "MinimumNormAttack",
    "RandomNoise",
    "Result",
    "Search",
    "Square",
    "StabilisedMedicalAttack",
    "Status",
    "Universal",
    "UniversalChange",
    "auto_attack",
    "budget_curve",
    "maximise",
    "random_changes",
    "random_search",
    "transfer",
    "transferred",
]
