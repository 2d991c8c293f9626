"""What may change in an image: differentiable families with a budget."""

from medadv.perturbations.additive import Additive
from medadv.perturbations.affine import Affine
from medadv.perturbations.chain import Chain
from medadv.perturbations.flow import Flow
from medadv.perturbations.frequency_quantisation import FrequencyQuantisation
from medadv.perturbations.intensity_curve import IntensityCurve
from medadv.perturbations.perturbation import Draw, Parameters, Perturbation
from medadv.perturbations.polynomial_bias_field import PolynomialBiasField
from medadv.perturbations.spline_bias_field import SplineBiasField
from medadv.perturbations.spline_deformation import SplineDeformation

__all__ = [
    "Additive",
    "Affine",
    "Chain",
    "Draw",
    "Flow",
    "FrequencyQuantisation",
    "IntensityCurve",
    "Parameters",
    "Perturbation",
    "PolynomialBiasField",
    "SplineBiasField",
    "SplineDeformation",
]
