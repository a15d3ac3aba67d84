"""The network, readable top to bottom: sipmask, backbone, fpn, head."""
