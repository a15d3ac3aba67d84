"""What tests look at although nobody else may: one place to mend when the insides change."""

from sipmask_core.inference.cuda_graphs import GraphedNetwork


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


def give_graphs(predictor, record):
    """Let a predictor on a CPU have graphs, made by `record`."""
    predictor._graphed = GraphedNetwork(predictor._up_to_candidates, predictor.device, record)


def graphs_by_shape(predictor):
    """Return the graphs of a predictor, to be replaced in place."""
    return predictor._graphed._graphs


def shapes_remembered(network):
    """Return the shapes that a `GraphedNetwork` has seen and not recorded."""
    return network._seen


def up_to_candidates(predictor):
    """Return the work of a predictor that a graph records."""
    return predictor._up_to_candidates
