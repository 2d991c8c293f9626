"""The compiled module of csrc/python/core.cpp."""

from medadv._core import definitions as definitions
from medadv._core import operators as operators

compiler: str
cuda_version: str
cuda_architectures: str

def instruction_set() -> str: ...
