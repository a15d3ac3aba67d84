"""`segmentation_node`: the way of an image through it, from subscription to publication."""
