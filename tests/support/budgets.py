"""Budgets of the attacks of the registry that are not radii of noise."""

MODERATE = {
    "bias-field": 1.1,
    "smooth-bias-field": 1.1,
    "deformation": 1.0,
    "flow": 0.25,
    "affine": 0.5,
    "intensity": 1.2,
    "frequency": 40.0,
    "chain": 0.25,
}
