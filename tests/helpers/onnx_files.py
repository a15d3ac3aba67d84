"""Small .onnx files that claim to be an exported network of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import torch

import sipmask_core as sm
from sipmask_core.inference.onnx_model import output_channels
from sipmask_core.model.checkpoints import describe_model

if TYPE_CHECKING:
    from pathlib import Path

LITE = sm.get_preset("sipmask_r18_lite")


PLUS_PLUS = sm.get_preset("sipmask++_r101_caffe_fpn_ssd_6x")


def onnx_file(path: Path, made_as: sm.Preset = LITE, **changes: str | None) -> Path:
    """Write a file with the outputs and metadata of a network, but only a few weights, all zero."""
    height, width = made_as.resize.height, made_as.resize.width
    image = onnx.helper.make_tensor_value_info("images", 1, ["N", 3, height, width])
    nodes, weights, outputs = [], [], []
    for name, channels in output_channels(made_as, 2).items():
        zeros = np.zeros((channels, 3, 1, 1), np.float32)
        weights.append(onnx.numpy_helper.from_array(zeros, f"w_{name}"))
        nodes.append(onnx.helper.make_node("Conv", ["images", f"w_{name}"], [name]))
        shape = ["N", channels, height, width]
        outputs.append(onnx.helper.make_tensor_value_info(name, 1, shape))
    graph = onnx.helper.make_graph(nodes, "network", [image], outputs, weights)
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10
    )
    with torch.device("meta"):
        described = describe_model(sm.build_model(made_as, num_classes=2))
    metadata = {**described, **changes}
    onnx.helper.set_model_props(model, {k: v for k, v in metadata.items() if v is not None})
    onnx.save(model, path)
    return path
