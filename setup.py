"""`pip install .`: the core and the `sipmask` command. The ROS package is built by colcon."""

from setuptools import setup

setup()
