"""Gradient steps inside a budget: what budgeted attacks share."""
