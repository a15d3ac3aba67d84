"""What tests look at although nobody else may: one place to mend when the insides change."""


def tracks_of(tracker):
    """Return the tracks that an `OnlineTracker` has in memory."""
    return tracker._tracks


def subscriber_count(camera):
    """Return how many subscribers the images of a `node_harness.Camera` have."""
    return camera._images.get_subscription_count()


def node_of(depth_camera):
    """Return the node, or its stand-in, of a `DepthCamera`."""
    return depth_camera._node


def model_of(rival):
    """Return the torchvision model of the benchmark's rival."""
    return rival._model
