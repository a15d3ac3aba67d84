"""Datasets and the augmentations applied to them."""
