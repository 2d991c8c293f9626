"""What an attack raises: one number per image, higher is worse for the victim."""

from medadv.objectives.cross_entropy import CrossEntropy
from medadv.objectives.cross_entropy_or_margin import CrossEntropyOrMargin
from medadv.objectives.dlr import DLR, TargetedDLR
from medadv.objectives.hierarchical_feature_constraint import HierarchicalFeatureConstraint
from medadv.objectives.margin import Margin
from medadv.objectives.objective import Objective, Situated, Situation
from medadv.objectives.stabilised import Gaussian, Stabilised
from medadv.objectives.targeted import Targeted
from medadv.objectives.undetected import Undetected

OBJECTIVES: dict[str, type[Objective]] = {
    "cross-entropy": CrossEntropy,
    "margin": Margin,
    "dlr": DLR,
    "targeted-dlr": TargetedDLR,
    "targeted": Targeted,
    "stabilised": Stabilised,
}

__all__ = [
    "DLR",
    "OBJECTIVES",
    "CrossEntropy",
    "CrossEntropyOrMargin",
    "Gaussian",
    "HierarchicalFeatureConstraint",
    "Margin",
    "Objective",
    "Situated",
    "Situation",
    "Stabilised",
    "Targeted",
    "TargetedDLR",
    "Undetected",
]
