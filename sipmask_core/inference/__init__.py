"""An image in, instances out."""
