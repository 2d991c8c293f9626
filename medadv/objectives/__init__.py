"""What an attack raises: one number per image, higher is worse for the victim."""

from medadv.objectives.cross_entropy import CrossEntropy
from medadv.objectives.margin import Margin
from medadv.objectives.objective import Objective

OBJECTIVES: dict[str, type[CrossEntropy] | type[Margin]] = {"cross-entropy": CrossEntropy, "margin": Margin}

__all__ = ["OBJECTIVES", "CrossEntropy", "Margin", "Objective"]
