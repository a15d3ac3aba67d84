"""The parameters of `segmentation_node`, each declared once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sipmask_core.errors import InputError
from sipmask_core.inference.selection import (
    IgnoredZones,
    Polygon,
    read_class_thresholds,
    read_zone,
)
from sipmask_core.inference.tiles import read_grid
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
        "Camera topics. All cameras share one model; each has ids of its own.",
    )
    transport: str = parameter(
        "raw",
        "`raw`: the image topics carry sensor_msgs/Image; `compressed`:"
        " sensor_msgs/CompressedImage, on `<topic>/compressed` or the topic itself.",
        choices=("raw", "compressed"),
    )
    reliability: str = parameter(
        "best_effort",
        "QoS reliability of the image subscriptions: `best_effort`; `reliable`, which works only"
        " with a reliable camera; `auto`, which is reliable while the camera is.",
        choices=("best_effort", "reliable", "auto"),
    )
    image_bits: int = parameter(
        0,
        "Bits per value that 16-bit images really use, such as 12; 0: judged by the camera's"
        " images so far, as 10, 12, 14 or 16.",
        minimum=0,
        maximum=16,
        effect=Effect.LIVE,
    )
    model: str = parameter(
        "",
        "Name of fetched weights (`sipmask weights list`); a file .safetensors, .pth or .onnx,"
        " the last run by onnxruntime; `package.module:factory`, code of your own; empty: the"
        " model that ships.",
        effect=Effect.RELOAD,
    )
    device: str = parameter(
        "auto",
        "`auto`, `cpu`, `cuda` or `cuda:N`; `auto` is CUDA if there is a GPU.",
        effect=Effect.RELOAD,
    )
    precision: str = parameter(
        "auto",
        "Number format of the network: `fp32`, `fp16` or `bf16`; `auto` is half precision if the"
        " hardware has it.",
        choices=("auto", "fp32", "fp16", "bf16"),
        effect=Effect.RELOAD,
    )
    num_threads: int = parameter(
        0,
        "CPU threads of the network; 0: PyTorch decides.",
        minimum=0,
        maximum=512,
        effect=Effect.RELOAD,
    )
    score_threshold: float = parameter(
        0.3, "Lowest score to report.", minimum=0.0, maximum=1.0, effect=Effect.LIVE
    )
    classes: tuple[str, ...] = parameter(
        (), "Names of the classes to report; empty: all.", effect=Effect.LIVE
    )
    class_thresholds: tuple[str, ...] = parameter(
        (),
        "Lowest scores of single classes, such as `person:0.5`; score_threshold holds for the"
        " others.",
        effect=Effect.LIVE,
    )
    ignore_zones: tuple[str, ...] = parameter(
        (),
        "Polygons in which nothing is reported, such as `image: 0,0 1,0 1,0.3 0,0.3`: a camera"
        " topic, or the beginning of several, then corners x,y as fractions of width and height."
        " Without a topic, a zone holds for all cameras. An instance with more than half of its"
        " mask inside is dropped.",
        effect=Effect.LIVE,
    )
    tiles: str = parameter(
        "",
        "Columns x rows, such as `2x2`: images also go through the network in overlapping tiles,"
        " to find small objects; each tile takes as long as an image; empty: no tiles.",
        effect=Effect.RELOAD,
    )
    always_on: bool = parameter(
        False,
        "Segment even if nobody subscribes to any output.",
        effect=Effect.LIVE,
    )
    max_rate: float = parameter(
        0.0,
        "Most images per second to segment from each camera; 0: no limit.",
        minimum=0.0,
        effect=Effect.LIVE,
    )
    max_age: float = parameter(
        0.0,
        "Drop an image whose stamp is older than this many seconds when its turn comes; 0: never."
        " For recordings, set use_sim_time, too.",
        minimum=0.0,
        effect=Effect.LIVE,
    )
    max_batch: int = parameter(
        4,
        "Most waiting images, from different cameras, that go through the network together.",
        minimum=1,
        maximum=64,
        effect=Effect.LIVE,
    )
    mask_encoding: str = parameter(
        "mono8",
        "`mono8`: a byte for each pixel of the instance's rectangle; `rle`: COCO run lengths,"
        " smaller and slower.",
        choices=("mono8", "rle"),
        effect=Effect.LIVE,
    )
    depth_topics: tuple[str, ...] = parameter(
        (),
        "Topics of depth images registered to the images, one for each of image_topics; empty: no"
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
        "Topics of the depth images' calibration, one for each of depth_topics; empty:"
        " `camera_info` beside each depth topic.",
    )
    depth_tolerance: float = parameter(
        0.05,
        "Most seconds between the stamps of an image and its depth image.",
        minimum=0.0,
        effect=Effect.LIVE,
    )
    depth_registered: bool = parameter(
        False,
        "Take depth and image as registered even if their frame_ids differ.",
        effect=Effect.LIVE,
    )
    points_stride: int = parameter(
        2,
        "`~/points` takes one in this many rows and columns of the image.",
        minimum=1,
        maximum=64,
        effect=Effect.LIVE,
    )
    ignore_classes: tuple[str, ...] = parameter(
        (),
        "Names of the classes that `~/ignore_mask` covers and `~/depth_without` leaves out, among"
        " those reported; empty: all.",
        effect=Effect.LIVE,
    )
    ignore_margin: int = parameter(
        10,
        "Pixels by which these masks grow on all sides.",
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
        "Frame of tf2, such as `odom`, in which ~/target and velocities are given; empty:"
        " relative to the camera.",
    )
    publish_tf: bool = parameter(
        False,
        "Publish a frame on /tf for each confirmed track whose position is known, `<camera's"
        " frame>_<class>_<id>`.",
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
        "Split the latency in /diagnostics into stages, from the camera's stamp to the"
        " publication; on a GPU this slows the node down.",
        effect=Effect.LIVE,
    )
    autostart: bool = parameter(
        True,
        "Configure and activate at the start; false leaves both to a lifecycle manager and sends"
        " it heartbeats (docs/lifecycle.md).",
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
        read_grid(self.tiles)
        read_class_thresholds(self.class_thresholds)
        for zone in self.ignore_zones:
            camera, _ = read_zone(zone)
            if not any(_is_of(camera, topic) for topic in self.image_topics):
                raise InputError(
                    f"ignore_zones has {zone!r}, but {camera!r} is none of image_topics,"
                    f" {', '.join(self.image_topics)}, and no beginning of one."
                )
        packed = [topic for topic in self.depth_topics if topic.endswith(COMPRESSED_DEPTH)]
        if packed and self.depth_transport == "raw":
            raise InputError(
                f"The parameter depth_topics names {packed[0]!r}, which carries compressed depth;"
                " set depth_transport to compressedDepth."
            )

    @property
    def lowest_score(self) -> float:
        """The score from which on the model must report instances."""
        return min(self.score_threshold, *self.thresholds.values(), 1.0)

    @property
    def thresholds(self) -> dict[str, float]:
        """The lowest scores of `class_thresholds`, by class."""
        return read_class_thresholds(self.class_thresholds)

    def zones_of(self, image_topic: str) -> IgnoredZones | None:
        """Return where instances of this camera are ignored; None if nowhere."""
        zones = map(read_zone, self.ignore_zones)
        polygons: list[Polygon] = [p for camera, p in zones if _is_of(camera, image_topic)]
        return IgnoredZones(polygons) if polygons else None

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


def _is_of(camera: str, topic: str) -> bool:
    """Return whether a zone's camera is this topic or a beginning of it; empty is, of all."""
    camera, topic = camera.strip("/"), topic.strip("/")
    return not camera or f"{topic}/".startswith(f"{camera}/")
