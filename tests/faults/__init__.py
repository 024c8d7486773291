"""Faults, and the system that has to bear them."""
