"""Tracking: ids that stay with their objects over the frames of a video."""
