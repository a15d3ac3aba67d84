"""Ids that stay with their objects."""
