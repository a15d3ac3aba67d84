"""The resize rules and the normalisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import torch
from official import OFFICIAL, golden_files, read_reference

import sipmask_core as sm
from sipmask_core.model.inputs import Normalise, prepare, resized_size
from sipmask_core.model.presets import AntialiasedKeepRatio, KeepRatio, Letterbox, Stretch

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("size", "rule", "expected"),
    [
        ((427, 640), KeepRatio(1333, 800), (800, 1199)),
        ((640, 428), KeepRatio(1333, 800), (1196, 800)),
        ((100, 1000), KeepRatio(1333, 800), (133, 1333)),
        ((427, 640), AntialiasedKeepRatio(1333, 800), (800, 1199)),
        ((640, 428), AntialiasedKeepRatio(1333, 800), (1196, 800)),
        ((333, 333), AntialiasedKeepRatio(1333, 800), (800, 800)),
        ((427, 1000), AntialiasedKeepRatio(1333, 800), (569, 1332)),  # truncated, not rounded
        ((1, 5000), AntialiasedKeepRatio(1333, 800), (1, 1333)),
        ((427, 640), Stretch(544, 544), (544, 544)),
        ((480, 640), Letterbox(384, 384), (288, 384)),
        ((1, 5000), Letterbox(384, 384), (1, 384)),
    ],
)
def test_sizes_after_the_resize(
    size: tuple[int, int], rule: KeepRatio | Stretch | Letterbox, expected: tuple[int, int]
) -> None:
    assert resized_size(*size, rule) == expected


def test_the_accurate_presets_pad_to_a_multiple_of_32() -> None:
    prepared = prepare(
        np.zeros((427, 640, 3), np.uint8), sm.get_preset("sipmask_r50_caffe_fpn_gn_1x")
    )
    assert prepared.pixels.shape == (800, 1216, 3)
    assert prepared.size == (800, 1199)


@pytest.mark.parametrize("file", golden_files("golden", "benchmark_sipmask_R_50_FPN_1x"))
def test_the_benchmark_presets_resize_as_the_authors_do(file: Path) -> None:
    record = read_reference(file).record
    (resized,) = (OFFICIAL / "golden" / "inputs").glob(f"benchmark_{record['image']}_*_rgb.png")
    expected = np.asarray(cv2.imread(str(resized)))
    original = np.asarray(cv2.imread(str(OFFICIAL / "images" / f"{record['image']}.jpg")))
    prepared = prepare(original, sm.get_preset(record["config"]))
    height, width = prepared.size
    assert np.array_equal(prepared.pixels[:height, :width], expected)


def test_shrinking_with_antialiasing_averages_all_pixels() -> None:
    stripes = np.zeros((1600, 1600, 3), np.uint8)
    stripes[::2] = 255
    prepared = prepare(stripes, sm.get_preset("benchmark_sipmask_R_50_FPN_1x"))
    assert prepared.size == (800, 800)
    assert np.ptp(prepared.pixels[2:-2]) <= 1
    assert abs(float(prepared.pixels.mean()) - 127.5) < 1


def test_a_letterbox_keeps_the_aspect_ratio_and_says_the_scale() -> None:
    prepared = prepare(np.zeros((480, 640, 3), np.uint8), sm.get_preset("sipmask_r18_lite"))
    assert prepared.pixels.shape == (320, 320, 3)
    assert prepared.size == (240, 320)
    assert prepared.scale == pytest.approx((0.5, 0.5))


def test_channels_are_in_the_order_of_the_preset() -> None:
    blue = np.zeros((320, 320, 3), np.uint8)
    blue[..., 0] = 200
    assert prepare(blue, sm.get_preset("sipmask_r18_lite")).pixels[0, 0].tolist() == [0, 0, 200]
    bgr = prepare(blue, sm.get_preset("sipmask_r50_caffe_fpn_ssd_6x")).pixels
    assert bgr[0, 0].tolist() == [200, 0, 0]


def test_padding_is_exactly_zero_once_normalised() -> None:
    preset = sm.get_preset("sipmask_r18_lite")
    pixels = torch.full((1, 8, 8, 3), 255, dtype=torch.uint8)
    x = Normalise(preset)(pixels, (5, 6), torch.float32)
    assert x.shape == (1, 3, 8, 8)
    assert (x[:, :, 5:] == 0).all()
    assert (x[:, :, :, 6:] == 0).all()
    expected = (255 - torch.tensor(preset.mean)) / torch.tensor(preset.std)
    torch.testing.assert_close(x[0, :, 0, 0], expected)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_size_as_a_tensor_gives_the_same_to_the_last_bit(dtype: torch.dtype, device: str) -> None:
    normalise = Normalise(sm.get_preset("sipmask_r18_lite")).to(device)
    pixels = torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8, device=device)
    for size in ((5, 6), (8, 8), (1, 1)):
        expected = normalise(pixels, size, dtype)
        found = normalise(pixels, torch.tensor(size, device=device), dtype)
        assert found.stride() == expected.stride()
        bits = [x.permute(0, 2, 3, 1).view(torch.uint8) for x in (found, expected)]
        assert torch.equal(*bits)
