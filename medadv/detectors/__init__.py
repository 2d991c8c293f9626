"""How unlike clean images an image is, and victims that reject what is too unlike."""

from medadv.detectors.class_gaussians import ClassGaussians
from medadv.detectors.class_mixtures import ClassMixtures
from medadv.detectors.detector import Detector, excess, threshold_at
from medadv.detectors.gaussian import GaussianDetector
from medadv.detectors.guarded_victim import Guarded, GuardedVictim

__all__ = [
    "ClassGaussians",
    "ClassMixtures",
    "Detector",
    "GaussianDetector",
    "Guarded",
    "GuardedVictim",
    "excess",
    "threshold_at",
]
