"""The way to the nearest adversarial image: what minimum-norm attacks share."""
