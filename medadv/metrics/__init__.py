"""Numbers that describe how a model withstands attacks."""

from medadv.metrics.intervals import wilson

__all__ = ["wilson"]
