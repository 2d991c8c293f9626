"""How the objective is raised within a budget."""

from medadv.attacks.apgd import APGD
from medadv.attacks.attack import Attack
from medadv.attacks.bias_field_attack import BiasFieldAttack
from medadv.attacks.bim import BIM
from medadv.attacks.curve import budget_curve
from medadv.attacks.di_fgsm import DIFGSM
from medadv.attacks.diversity import Diversity
from medadv.attacks.ensemble import Ensemble
from medadv.attacks.fgsm import FGSM
from medadv.attacks.gradient import Gradient
from medadv.attacks.mi_fgsm import MIFGSM
from medadv.attacks.ni_fgsm import NIFGSM
from medadv.attacks.pgd import PGD
from medadv.attacks.randomness import Draw
from medadv.attacks.result import Result, Status
from medadv.attacks.search import Search, maximise
from medadv.attacks.si_ni_fgsm import SINIFGSM
from medadv.attacks.stabilised import StabilisedMedicalAttack
from medadv.attacks.ti_fgsm import TIFGSM
from medadv.attacks.vmi_fgsm import VMIFGSM

ATTACKS: dict[str, type[Attack]] = {
    kind.name: kind
    for kind in (
        PGD,
        BiasFieldAttack,
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
    )
}

__all__ = [
    "APGD",
    "ATTACKS",
    "BIM",
    "DIFGSM",
    "FGSM",
    "MIFGSM",
    "NIFGSM",
    "PGD",
    "SINIFGSM",
    "TIFGSM",
    "VMIFGSM",
    "Attack",
    "BiasFieldAttack",
    "Diversity",
    "Draw",
    "Ensemble",
    "Gradient",
    "Result",
    "Search",
    "StabilisedMedicalAttack",
    "Status",
    "budget_curve",
    "maximise",
]
