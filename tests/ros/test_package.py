"""What a build installs, and that its descriptions agree."""

import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from places import ROOT


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
    topics = {display["Topic"]["Value"] for display in displays}
    assert topics == {"/segmentation_node/overlay", "/camera/image_raw"}
