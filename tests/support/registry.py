"""Parts of the registry of attacks."""

from medadv.attacks import ATTACKS, Attack

GRADIENT_ATTACKS = {name: kind for name, kind in ATTACKS.items() if issubclass(kind, Attack)}
