"""Images and labels: readers, and phantoms that need no data. NumPy only; no torch."""

from medadv.data.errors import DataError
from medadv.data.image_set import ImageSet
from medadv.data.phantoms import chest_phantoms
from medadv.data.read import read_images

__all__ = ["DataError", "ImageSet", "chest_phantoms", "read_images"]
