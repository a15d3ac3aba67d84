"""The parameters of `segmentation_node`, each declared once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sipmask_core.errors import InputError
from sipmask_core.runtime.settings import settings_of
from sipmask_core.tracking.settings import TrackerSettings
from sipmask_ros.parameter_table import Effect, ParameterTable, parameter
from sipmask_ros.topic_names import COMPRESSED_DEPTH

_TRACKER = settings_of(TrackerSettings)
# ROS's own rule, less what it substitutes (~ and {}), because outputs are named after these topics.
_TOPIC = re.compile(r"/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)


def _tracker(name: str) -> Any:
    """Return the parameter that is a setting of the tracker."""
    rule = _TRACKER[name]
    return parameter(
        rule.default,
        rule.description,
        minimum=rule.minimum,
        maximum=rule.maximum,
        effect=Effect.LIVE,
    )


@dataclass(frozen=True)
class Parameters(ParameterTable):
    """What `segmentation_node` can be told."""

    image_topics: tuple[str, ...] = parameter(
        ("image",),
        "The cameras' topics; their images share one model, each camera has its own ids.",
    )
    transport: str = parameter(
        "raw",
        "`raw`: the image topics carry sensor_msgs/Image; `compressed`:"
        " sensor_msgs/CompressedImage, on `<topic>/compressed` or the topic itself.",
        choices=("raw", "compressed"),
    )
    reliability: str = parameter(
        "best_effort",
        "Of the subscriptions to images: `best_effort`; `reliable`, which works only with a"
        " reliable camera; `auto`, which is reliable while the camera is.",
        choices=("best_effort", "reliable", "auto"),
    )
    image_bits: int = parameter(
        0,
        "Bits of a value that 16-bit images use, such as 12; 0: as many as the camera's images have"
        " used so far, of 10, 12, 14 and 16.",
        minimum=0,
        maximum=16,
        effect=Effect.LIVE,
    )
    model: str = parameter(
        "",
        "The name of fetched weights (`sipmask weights list`); a file .safetensors, .pth, or .onnx,"
        " which onnxruntime runs; `package.module:factory`, code of your own; empty: the one that"
        " ships.",
        effect=Effect.RELOAD,
    )
    device: str = parameter(
        "auto",
        "`auto`, `cpu`, `cuda` or `cuda:N`; `auto` is CUDA where there is one.",
        effect=Effect.RELOAD,
    )
    precision: str = parameter(
        "auto",
        "Number format of the network: `fp32`, `fp16` or `bf16`; `auto` is half precision where"
        " the hardware has it.",
        choices=("auto", "fp32", "fp16", "bf16"),
        effect=Effect.RELOAD,
    )
    num_threads: int = parameter(
        0, "CPU threads; 0: PyTorch's own choice.", minimum=0, maximum=512, effect=Effect.RELOAD
    )
    score_threshold: float = parameter(
        0.3, "Lowest score that is reported.", minimum=0.0, maximum=1.0, effect=Effect.LIVE
    )
    classes: tuple[str, ...] = parameter(
        (), "Names of the classes that are reported; empty: all.", effect=Effect.LIVE
    )
    always_on: bool = parameter(
        False,
        "Segment also while nobody subscribes to any output.",
        effect=Effect.LIVE,
    )
    max_rate: float = parameter(
        0.0,
        "Most images per second of each camera that are segmented; 0: no limit.",
        minimum=0.0,
        effect=Effect.LIVE,
    )
    max_age: float = parameter(
        0.0,
        "An image whose stamp is older than this many seconds when its turn comes is dropped;"
        " 0: never. Recordings need use_sim_time with it.",
        minimum=0.0,
        effect=Effect.LIVE,
    )
    max_batch: int = parameter(
        4,
        "Most waiting images, of different cameras, that go through the network together.",
        minimum=1,
        maximum=64,
        effect=Effect.LIVE,
    )
    mask_encoding: str = parameter(
        "mono8",
        "`mono8`: masks as bytes of their rectangle; `rle`: COCO run lengths, smaller and slower.",
        choices=("mono8", "rle"),
        effect=Effect.LIVE,
    )
    depth_topics: tuple[str, ...] = parameter(
        (),
        "Depth images registered to the images, one topic for each of image_topics; empty: no"
        " positions.",
    )
    depth_transport: str = parameter(
        "raw",
        "`raw`: the depth topics carry sensor_msgs/Image; `compressedDepth`:"
        " sensor_msgs/CompressedImage as image_transport packs them, on `<topic>/compressedDepth`.",
        choices=("raw", "compressedDepth"),
    )
    camera_info_topics: tuple[str, ...] = parameter(
        (),
        "Their calibrations, one topic for each of depth_topics; empty: `camera_info` beside each"
        " depth topic.",
    )
    depth_tolerance: float = parameter(
        0.05,
        "Most seconds between the stamps of an image and of its depth.",
        minimum=0.0,
        effect=Effect.LIVE,
    )
    depth_registered: bool = parameter(
        False,
        "Depth and image share their pixels even if their frame_ids differ.",
        effect=Effect.LIVE,
    )
    points_stride: int = parameter(
        2,
        "`~/points` has a point for every so many rows and columns of the image.",
        minimum=1,
        maximum=64,
        effect=Effect.LIVE,
    )
    ignore_classes: tuple[str, ...] = parameter(
        (),
        "Names of the classes that `~/ignore_mask` covers and `~/depth_without` lacks, among those"
        " reported; empty: all.",
        effect=Effect.LIVE,
    )
    ignore_margin: int = parameter(
        10,
        "Pixels by which these masks are grown on all sides.",
        minimum=0,
        maximum=200,
        effect=Effect.LIVE,
    )
    overlay_quality: int = parameter(
        80,
        "JPEG quality of `~/overlay/compressed`.",
        minimum=1,
        maximum=100,
        effect=Effect.LIVE,
    )
    target_frame: str = parameter(
        "",
        "A frame of tf2, such as `odom`, in which ~/target and the velocities of tracks are given;"
        " empty: relative to the camera.",
    )
    publish_tf: bool = parameter(
        False,
        "Give each confirmed track whose position is known a frame on /tf,"
        " `<camera's frame>_<class>_<id>`.",
    )
    tracking: bool = parameter(
        True,
        "Give objects ids that stay with them from image to image.",
        effect=Effect.LIVE,
    )
    track_new_score: float = _tracker("new_score")
    track_confirm_after: int = _tracker("confirm_after")
    track_min_affinity: float = _tracker("min_affinity")
    track_max_lost_seconds: float = _tracker("max_lost_seconds")
    track_max_tracks: int = _tracker("max_tracks")
    timing: bool = parameter(
        False,
        "Split the latency in /diagnostics into its stages, from the camera's stamp to the"
        " publication; on a GPU this slows the node down.",
        effect=Effect.LIVE,
    )
    autostart: bool = parameter(
        True,
        "Configure and activate at the start; false leaves both to a lifecycle manager.",
        effect=Effect.START,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("image_topics", "depth_topics", "camera_info_topics"):
            for topic in getattr(self, name):
                if not _TOPIC.fullmatch(topic):
                    raise InputError(
                        f"The parameter {name} names {topic!r}; accepted are topics such as"
                        " camera/image_raw: letters, digits and _, no part beginning with a digit."
                    )
        if self.target_frame.startswith("/") or self.target_frame != self.target_frame.strip():
            raise InputError(
                f"The parameter target_frame is {self.target_frame!r}; frames of tf2 have no slash"
                " and no space at their ends, such as odom."
            )
        if not self.image_topics:
            raise InputError("The parameter image_topics is empty; give at least one topic.")
        # Outputs are named after the topics without a leading slash.
        if len({topic.lstrip("/") for topic in self.image_topics}) < len(self.image_topics):
            raise InputError(
                f"The parameter image_topics is {list(self.image_topics)}; name each topic once,"
                " with or without a leading slash."
            )
        for name, others in (
            ("depth_topics", "image_topics"),
            ("camera_info_topics", "depth_topics"),
        ):
            given, wanted = getattr(self, name), getattr(self, others)
            if given and len(given) != len(wanted):
                raise InputError(
                    f"The parameter {name} is {list(given)} and {others} is {list(wanted)};"
                    f" give as many topics in both, or none in {name}."
                )

        packed = [topic for topic in self.depth_topics if topic.endswith(COMPRESSED_DEPTH)]
        if packed and self.depth_transport == "raw":
            raise InputError(
                f"The parameter depth_topics names {packed[0]!r}, which carries compressed depth;"
                " set depth_transport to compressedDepth."
            )

    def depth_of(self, image_topic: str) -> tuple[str, str] | None:
        """Return the depth topic and the camera_info topic of an image topic, if it has any.

        The depth topic is the one that raw images would have.
        """
        if not self.depth_topics:
            return None
        index = self.image_topics.index(image_topic)
        depth = self.depth_topics[index].removesuffix(COMPRESSED_DEPTH)
        if self.camera_info_topics:
            return depth, self.camera_info_topics[index]
        folder, slash, _ = depth.rpartition("/")
        return depth, f"{folder}{slash}camera_info"

    def tracker_settings(self) -> TrackerSettings:
        """Return the settings of the tracker."""
        prefix = "track_"
        given = {name: value for name, value in vars(self).items() if name.startswith(prefix)}
        return TrackerSettings(**{k.removeprefix(prefix): v for k, v in given.items()})
