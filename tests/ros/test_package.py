"""What a build installs, and that its descriptions agree."""

import ast
import os
import re
import sys
import xml.etree.ElementTree as ElementTree
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from places import ROOT

# rosdep has no keys for these, so pip installs them (README.md).
PIP_ONLY = {
    *("onnx", "onnxruntime", "onnxscript", "pycocotools"),
    *("rosbags", "safetensors"),
    *("backports", "lz4"),  # rosbags needs them
    *("mcap", "mcap_ros2"),
    "grimp",  # of import-linter
}
ROSDEP_KEYS = {
    "PIL": "python3-pil",
    "cv2": "python3-opencv",
    "ruamel": "python3-ruamel.yaml",
    "torch": "python3-pytorch-pip",
    "torchvision": "python3-torchvision-pip",
    "tf2_ros": "tf2_ros_py",
}
NOT_ON_PYPI = {"cv_bridge", "launch", "launch_ros", "tf2_msgs", "tf2_ros", "vision_msgs"}
LATER_STANDARD = {"compression"}  # Python 3.14
FOR_TYPE_CHECKERS = {"_typeshed", "typing_extensions"}


def imported_modules():
    """Return the top-level modules of other projects that packages, launch files and tests use."""
    beside = (path.stem for path in ROOT.glob("tests/[hv]*/*.py"))  # helpers, vectors
    own = {"sipmask_core", "sipmask_ros", *beside}
    names = set()
    for folder in ("sipmask_core", "sipmask_ros", "launch", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    names |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    names.add(node.module.partition(".")[0])
    return names - own - sys.stdlib_module_names - LATER_STANDARD - FOR_TYPE_CHECKERS


def test_every_import_is_declared_for_rosdep():
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    keys = {entry.text for entry in package if entry.tag.endswith("depend")}
    for module in imported_modules() - PIP_ONLY:
        key = ROSDEP_KEYS.get(module)
        assert keys & ({key} if key else {module, f"python3-{module}"}), module


def test_every_import_is_declared_for_pip():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    lines = [*project["dependencies"], *(line for extra in extras for line in extra)]
    names = {re.split(r"[\[>]", line)[0].replace("-jazzy", "") for line in lines}
    declared = {name.replace(".", "-") for name in names}
    if "rclpy" not in packages_distributions():
        pytest.skip("ROS 2 is not from pip")
    for module in imported_modules() - NOT_ON_PYPI:
        distributions = packages_distributions()[module]
        assert declared & {re.sub("[._]", "-", name).lower() for name in distributions}, module


def test_the_package_has_one_version_and_licence():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    assert package.findtext("version") == project["version"]
    assert package.findtext("license") == project["license"]


def test_the_node_and_the_camera_are_installed_as_programs():
    packages = pytest.importorskip("ament_index_python.packages", reason="no ROS 2")
    try:
        prefix = Path(packages.get_package_prefix("sipmask_ros"))
    except packages.PackageNotFoundError:
        pytest.skip("the package is not built")
    for name in ("segmentation_node", "camera_source"):
        assert os.access(prefix / "lib" / "sipmask_ros" / name, os.X_OK), name
    share = prefix / "share" / "sipmask_ros"
    for file in ("launch/camera.launch.py", "config/segmentation.yaml", "config/fastdds_shm.xml"):
        assert (share / file).is_file(), file


def test_the_rviz_configuration_shows_the_topics_of_the_launch_file():
    yaml = pytest.importorskip("yaml")
    config = yaml.safe_load((ROOT / "config" / "sipmask.rviz").read_text())
    displays = config["Visualization Manager"]["Displays"]
    topics = {display["Topic"]["Value"] for display in displays if "Topic" in display}
    outputs = {"/segmentation_node/overlay", "/segmentation_node/markers"}
    assert topics == {*outputs, "/camera/image_raw"}
