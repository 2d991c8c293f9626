"""Numbers that describe how a model withstands attacks; `medadv.metrics.realism` says how images look."""

from medadv.metrics.intervals import wilson

__all__ = ["wilson"]
