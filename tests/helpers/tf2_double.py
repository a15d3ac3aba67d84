"""A stand-in for tf2_ros and the message of tf2_msgs, for tests without them.

It keeps what callers may rely on: `lookup_transform` gives the transform from the second frame into
the first at a time, waits for it no longer than it is told, and raises a TransformException if it
is not there; listeners are made of a buffer and a node, and can unregister.
"""

from types import SimpleNamespace

from geometry_msgs.msg import TransformStamped


class TransformException(Exception):  # noqa: N818, as in tf2_py
    pass


class ExtrapolationException(TransformException):
    pass


class LookupException(TransformException):
    pass


class Buffer:
    """Knows transforms by target frame, source frame and stamp in nanoseconds."""

    def __init__(self):
        self.transforms = {}
        self.waited = []

    def set(self, target, source, nanoseconds, translation, rotation=(0, 0, 0, 1)):
        known = TransformStamped()
        for name, value in zip("xyz", translation, strict=True):
            setattr(known.transform.translation, name, float(value))
        for name, value in zip("xyzw", rotation, strict=True):
            setattr(known.transform.rotation, name, float(value))
        self.transforms[target, source, nanoseconds] = known

    def lookup_transform(self, target_frame, source_frame, time, timeout):
        assert not source_frame.startswith("/") and not target_frame.startswith("/")
        self.waited.append(timeout.nanoseconds * 1e-9)
        if not any(key[:2] == (target_frame, source_frame) for key in self.transforms):
            raise LookupException(f'"{source_frame}" does not exist.')
        key = target_frame, source_frame, time.nanoseconds
        if key not in self.transforms:
            raise ExtrapolationException("Lookup would require extrapolation into the future.")
        return self.transforms[key]


class TransformListener:
    def __init__(self, buffer, node):
        self.buffer, self.node, self.is_registered = buffer, node, True

    def unregister(self):
        self.is_registered = False


class TFMessage(SimpleNamespace):
    """tf2_msgs/TFMessage: a list of TransformStamped."""

    def __init__(self, transforms=()):
        super().__init__(transforms=list(transforms))
