"""Weights by name: which are published, which are on this machine, and how they get there."""
