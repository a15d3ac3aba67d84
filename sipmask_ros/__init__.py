"""SipMask as a ROS 2 node: camera images in, instance masks out."""

# The messages of this package are generated into another folder of the same name (the install
# space). Joining the two lets the modules of a source tree find the messages that were built.
__path__ = __import__("pkgutil").extend_path(__path__, __name__)
