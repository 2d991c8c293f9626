"""What may change in an image: differentiable families with a budget."""

from medadv.perturbations.additive import Additive
from medadv.perturbations.perturbation import Draw, Parameters, Perturbation
from medadv.perturbations.spline_bias_field import SplineBiasField

__all__ = ["Additive", "Draw", "Parameters", "Perturbation", "SplineBiasField"]
