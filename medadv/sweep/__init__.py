"""Sweeps: the units of work, and the store of their results."""

from medadv.sweep.store import Receipt, Store, StoreDamaged, StoreExists
from medadv.sweep.unit import Unit

__all__ = ["Receipt", "Store", "StoreDamaged", "StoreExists", "Unit"]
