"""Speed against public peers, side by side in one run: ``python -m benchmarks.compare``."""
