# The node on ROS 2: docker build --build-arg ROS_DISTRO=lyrical --tag sipmask_ros .
# For a PyTorch without CUDA: --build-arg PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
# docs/install.md says how to run it.
ARG ROS_DISTRO=jazzy
FROM ros:${ROS_DISTRO}-ros-base

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /workspace

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv --system-site-packages /opt/venv \
    && echo "numpy<2; python_version<'3.13'" > /opt/venv/constraints.txt
# The constraint: cv_bridge of Ubuntu 24.04 was built for NumPy 1, that of 26.04 for NumPy 2.
ENV VIRTUAL_ENV=/opt/venv \
    PATH=/opt/venv/bin:$PATH \
    PIP_CONSTRAINT=/opt/venv/constraints.txt \
    PIP_NO_CACHE_DIR=1
ARG PIP_EXTRA_INDEX_URL

# What is large comes before the source, so that a change of the source does not fetch it again.
# hadolint ignore=DL3013
RUN pip install torch torchvision
COPY . src/sipmask_ros
RUN pip install './src/sipmask_ros[bag,onnx]'

# rosdep finds PyTorch in the virtual environment; a robot has no use for RViz.
RUN apt-get update \
    && rosdep install --default-yes --ignore-src --from-paths src --skip-keys rviz2 \
    && rm -rf /var/lib/apt/lists/*
RUN . "/opt/ros/$ROS_DISTRO/setup.bash" \
    && colcon build \
    && sed --in-place '$i source /workspace/install/setup.bash' /ros_entrypoint.sh

CMD ["ros2", "launch", "sipmask_ros", "camera.launch.py"]
