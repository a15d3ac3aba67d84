"""From an image of any size to the network's input, by the resize rule of a preset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sipmask_core.errors import InputError
from sipmask_core.model.presets import AntialiasedKeepRatio, KeepRatio, Letterbox, Preset, Stretch

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAD_MULTIPLE = 32


class NetworkInput(NamedTuple):
    """A prepared image.

    pixels: (H, W, 3) uint8, resized and padded, in the preset's channel order. size: (h, w) of the
    image within it, at the top left. scale: network pixels per image pixel, (x, y).
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    scale: tuple[float, float]


def check_image(image: Any) -> NDArray[np.uint8]:
    """Return the image; raise InputError unless it is a non-empty (H, W, 3) uint8 array."""
    if not isinstance(image, np.ndarray):
        raise InputError(f"An image must be a numpy array (H, W, 3) uint8, not {type(image)}.")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise InputError(
            f"An image must be a non-empty (H, W, 3) uint8 array; got {image.shape} {image.dtype}."
        )
    return image


def resized_size(height: int, width: int, rule: KeepRatio | Stretch | Letterbox) -> tuple[int, int]:
    """Return the (h, w) to which the rule resizes an image, padding not counted."""
    if isinstance(rule, Stretch):
        return rule.height, rule.width
    if isinstance(rule, AntialiasedKeepRatio):
        return _antialiased_size(height, width, rule)
    if isinstance(rule, KeepRatio):
        scale = min(rule.long / max(height, width), rule.short / min(height, width))
    else:
        scale = min(rule.height / height, rule.width / width)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def _antialiased_size(height: int, width: int, rule: AntialiasedKeepRatio) -> tuple[int, int]:
    low, high = min(height, width), max(height, width)
    fits = high / low * rule.short <= rule.long
    short = rule.short if fits else round(rule.long * low / high)
    long = int(short * high / low) if short else rule.long
    short = max(1, short)
    return (short, long) if height == low else (long, short)


def prepare(image: NDArray[np.uint8], preset: Preset) -> NetworkInput:
    """Resize and pad (H, W, 3) uint8 BGR as the preset says.

    The padding has the preset's mean colour, rounded; `Normalise` makes it exactly zero.
    """
    height, width = image.shape[:2]
    rule = preset.resize
    h, w = resized_size(height, width, rule)
    if isinstance(rule, AntialiasedKeepRatio):
        resized = Image.fromarray(image).resize((w, h), Image.Resampling.BILINEAR)
        pixels: NDArray[Any] = np.array(resized)
    else:
        pixels = cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR)
    if preset.rgb:
        cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)
    scale = (w / width, h / height)
    if isinstance(rule, Stretch):
        scale = (float(np.float32(scale[0])), float(np.float32(scale[1])))
    elif isinstance(rule, Letterbox):
        pixels = _pad(pixels, rule.height - h, rule.width - w, preset)
    else:
        pixels = _pad(pixels, -h % PAD_MULTIPLE, -w % PAD_MULTIPLE, preset)
        if not isinstance(rule, AntialiasedKeepRatio):
            # One factor for both axes, as the authors do; rounding makes the true ones differ.
            factor = min(rule.long / max(height, width), rule.short / min(height, width))
            scale = (factor, factor)
    return NetworkInput(pixels, (h, w), scale)


def _pad(pixels: NDArray[np.uint8], bottom: int, right: int, preset: Preset) -> NDArray[np.uint8]:
    if bottom == 0 and right == 0:
        return pixels
    colour = [round(c) for c in preset.mean]
    padded = cv2.copyMakeBorder(pixels, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=colour)
    return np.asarray(padded, np.uint8)


class Normalise(torch.nn.Module):
    """Maps (N, H, W, 3) uint8 to (N, 3, H, W) of the wanted dtype: (pixel - mean) / std.

    Rows and columns beyond `size` become exactly zero.
    """

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(preset.mean), persistent=False)
        self.register_buffer("std", torch.tensor(preset.std), persistent=False)

    def forward(self, pixels: Tensor, size: tuple[int, int] | Tensor, dtype: torch.dtype) -> Tensor:
        """Normalise pixels (N, H, W, 3); size: (h, w) of the image within, at the top left.

        A tensor (2,) on the device of the pixels gives the same; a recorded graph can read it anew.
        """
        if isinstance(size, Tensor):
            return self._within(pixels, size).to(dtype).permute(0, 3, 1, 2)
        h, w = size
        # As long as a row: vectors of three numbers would leave most of a processor idle.
        mean, std = self.mean.repeat(w, 1), self.std.repeat(w, 1)  # (w, 3)
        x = pixels.new_zeros(pixels.shape, dtype=dtype)
        x[:, :h, :w] = pixels[:, :h, :w].float().sub_(mean).div_(std)
        return x.permute(0, 3, 1, 2)  # channels-last in memory

    def _within(self, pixels: Tensor, size: Tensor) -> Tensor:
        row = torch.arange(pixels.shape[1], device=pixels.device)[:, None, None]
        column = torch.arange(pixels.shape[2], device=pixels.device)[:, None]
        outside = (row >= size[0]) | (column >= size[1])  # (H, W, 1)
        return pixels.float().sub_(self.mean).div_(self.std).masked_fill_(outside, 0)
