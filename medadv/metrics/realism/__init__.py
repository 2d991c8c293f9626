"""How realistic changed images are, and how unlike the clean ones."""

from medadv.metrics.realism.brisque import BrisqueModel
from medadv.metrics.realism.natural_scene import NaturalSceneModel, natural_scene_features
from medadv.metrics.realism.radiomics import frechet_distance, radiomic_features
from medadv.metrics.realism.similarity import ms_ssim, psnr, ssim
from medadv.metrics.realism.smoothness import log_ratio, log_ratio_bending, log_ratio_variation

__all__ = [
    "BrisqueModel",
    "NaturalSceneModel",
    "frechet_distance",
    "log_ratio",
    "log_ratio_bending",
    "log_ratio_variation",
    "ms_ssim",
    "natural_scene_features",
    "psnr",
    "radiomic_features",
    "ssim",
]
