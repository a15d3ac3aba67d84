"""Metrics on whole datasets."""
