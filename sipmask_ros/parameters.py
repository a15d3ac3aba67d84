"""The node's parameters: each declared once, with its default, range and description."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult

from sipmask_core.errors import InputError
from sipmask_core.online_tracker import TrackerSettings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rclpy.node import Node
    from rclpy.parameter import Parameter

T = TypeVar("T", bool, int, float, str)

_TRACKER = TrackerSettings()


def parameter(
    default: T,
    description: str,
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    maximum: float | None = None,
) -> T:
    """A field of `Parameters`: its type is the default's, its range is inclusive."""
    return field(
        default=default,
        metadata={
            "description": description,
            "choices": choices,
            "minimum": minimum,
            "maximum": maximum,
        },
    )


@dataclass(frozen=True)
class Parameters:
    """What `segmentation_node` can be told; read when the node is configured."""

    autostart: bool = parameter(
        True, "Configure and activate at the start; false leaves both to a lifecycle manager."
    )
    model: str = parameter(
        "",
        "A model file: .safetensors or .pth, or .onnx, which onnxruntime runs; empty: the one"
        " shipped.",
    )
    device: str = parameter("auto", "auto, cpu, cuda or cuda:N; auto is CUDA where there is one.")
    precision: str = parameter(
        "auto", "Number format of the network.", choices=("auto", "fp32", "fp16", "bf16")
    )
    num_threads: int = parameter(0, "CPU threads; 0: PyTorch's own choice.", minimum=0, maximum=512)
    score_threshold: float = parameter(
        0.3, "Lowest score that is reported.", minimum=0.0, maximum=1.0
    )
    transport: str = parameter(
        "raw",
        "raw: the image topic carries sensor_msgs/Image; compressed: sensor_msgs/CompressedImage.",
        choices=("raw", "compressed"),
    )
    reliability: str = parameter(
        "best_effort",
        "Of the image subscription; reliable works only with a reliable camera.",
        choices=("best_effort", "reliable"),
    )
    max_age: float = parameter(
        0.0,
        "An image whose stamp is older than this many seconds when its turn comes is dropped;"
        " 0: never. Recordings need use_sim_time with it.",
        minimum=0.0,
    )
    mask_encoding: str = parameter(
        "mono8",
        "mono8: masks as bytes of their rectangle; rle: COCO run lengths, smaller and slower.",
        choices=("mono8", "rle"),
    )
    tracking: bool = parameter(True, "Give objects ids that stay with them from image to image.")
    track_new_score: float = parameter(
        _TRACKER.new_score,
        "An object must score this to get an id; a weaker one can only continue one.",
        minimum=0.0,
        maximum=1.0,
    )
    track_confirm_after: int = parameter(
        _TRACKER.confirm_after,
        "Images that show an object before its track is confirmed.",
        minimum=1,
    )
    track_min_affinity: float = parameter(
        _TRACKER.min_affinity,
        "Below this overlap with where it should be, an object gets another id.",
        minimum=0.0,
        maximum=1.0,
    )
    track_max_lost_seconds: float = parameter(
        _TRACKER.max_lost_seconds,
        "How long an object out of sight is looked for, by the stamps of the images; also the"
        " longest time between two images that ids survive.",
        minimum=0.0,
    )
    track_max_tracks: int = parameter(
        _TRACKER.max_tracks, "Most objects in memory; those longest unseen go first.", minimum=1
    )

    timing: bool = parameter(
        False,
        "Split the latency in /diagnostics into its stages, from the camera's stamp to the"
        " publication; on a GPU this slows the node down.",
    )

    def tracker_settings(self) -> TrackerSettings:
        """The settings of the tracker. Raises InputError where one is out of range."""
        return TrackerSettings(
            new_score=self.track_new_score,
            confirm_after=self.track_confirm_after,
            min_affinity=self.track_min_affinity,
            max_lost_seconds=self.track_max_lost_seconds,
            max_tracks=self.track_max_tracks,
        )


_FIELDS = {f.name: f for f in fields(Parameters)}


def accepted(name: str) -> str:
    """What a parameter takes, in words."""
    declared = _FIELDS[name]
    meta = declared.metadata
    if meta["choices"]:
        return f"one of {', '.join(meta['choices'])}"
    kind = {bool: "true or false", int: "an integer", float: "a number", str: "a text"}[
        type(declared.default)
    ]
    if meta["maximum"] is not None:
        return f"{kind} from {meta['minimum']} to {meta['maximum']}"
    return kind if meta["minimum"] is None else f"{kind} from {meta['minimum']} up"


def checked(name: str, value: Any) -> Any:
    """The value as the parameter's type; an integer passes for a number.

    Raises InputError when its type or range is wrong.
    """
    declared = _FIELDS[name]
    kind, meta = type(declared.default), declared.metadata
    if kind is float and type(value) is int:
        value = float(value)
    if (
        type(value) is not kind
        or (meta["choices"] and value not in meta["choices"])
        or (meta["minimum"] is not None and not value >= meta["minimum"])
        or (meta["maximum"] is not None and not value <= meta["maximum"])
    ):
        raise InputError(f"The parameter {name} is {value!r}; accepted is {accepted(name)}.")
    return value


def declare(node: Node) -> None:
    """Declare all parameters on a node.

    Their types are left open here, so that a wrong one in a launch file becomes a sentence when
    the node is configured, not an exception while it is constructed.
    """
    for declared in _FIELDS.values():
        node.declare_parameter(
            declared.name,
            declared.default,
            ParameterDescriptor(
                description=declared.metadata["description"],
                additional_constraints=accepted(declared.name),
                dynamic_typing=True,
            ),
        )
    node.add_on_set_parameters_callback(_refuse_bad_values)


def read(node: Node) -> Parameters:
    """The node's present parameters. Raises InputError naming the first that is wrong."""
    return Parameters(**{name: checked(name, node.get_parameter(name).value) for name in _FIELDS})


def _refuse_bad_values(changes: Iterable[Parameter]) -> SetParametersResult:
    """Tell `ros2 param set` what is wrong; what is right counts from the next configure."""
    try:
        for change in changes:
            if change.name in _FIELDS:
                checked(change.name, change.value)
    except InputError as error:
        return SetParametersResult(successful=False, reason=str(error))
    return SetParametersResult(successful=True)
