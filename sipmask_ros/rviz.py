"""RViz's configuration for a node: its displays show the topics of the node and of its cameras."""

from __future__ import annotations

import copy
from typing import Any

# Displays that each camera has, by their names in config/sipmask.rviz, and their topics under the
# camera's outputs; None is the camera's own topic.
_OF_A_CAMERA = {"Instances": "overlay", "Camera": None, "Objects": "markers"}


def rviz_configuration(
    template: dict[str, Any], node: str, cameras: list[str], fixed_frame: str = ""
) -> dict[str, Any]:
    """Return a copy of config/sipmask.rviz, as YAML gives it, for a node and its cameras.

    node: its name with its namespace, such as /robot_1/segmentation_node. cameras: the topics of
    the images, as the node names them: its namespace comes before those without a slash in front.
    fixed_frame: of the view; empty for that of the template.
    """
    configuration = copy.deepcopy(template)
    manager = configuration["Visualization Manager"]
    if fixed_frame:
        manager["Global Options"]["Fixed Frame"] = fixed_frame
    displays = []
    for display in manager["Displays"]:
        if display["Name"] not in _OF_A_CAMERA:
            displays.append(display)
            continue
        for number, camera in enumerate(cameras):
            one = copy.deepcopy(display)
            output = _OF_A_CAMERA[display["Name"]]
            prefix = node if len(cameras) == 1 else f"{node}/{camera.lstrip('/')}"
            one["Topic"]["Value"] = (
                _resolved(node, camera) if output is None else f"{prefix}/{output}"
            )
            if number:  # the first keeps the name by which its window is docked
                one["Name"] += f" {camera}"
            displays.append(one)
    manager["Displays"] = displays
    return configuration


def _resolved(node: str, topic: str) -> str:
    return topic if topic.startswith("/") else f"{node.rpartition('/')[0]}/{topic}"
