"""medadv: attacks, measurements and fast operations for the robustness of medical-imaging networks."""

__version__ = "0.1.0"
