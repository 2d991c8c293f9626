"""Studies of the papers' claims on real images; run by hand, not part of the package that is installed."""
