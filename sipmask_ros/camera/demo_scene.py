"""A virtual camera that moves over photographs, so that a demo needs no camera.

The photographs come with scikit-image and matplotlib; nothing is downloaded. Each act shows one of
them, slowly panned and zoomed: a motorcycle in a garage, a cat, a cup on a table, people. People
cut out of their own photographs walk across most of the others, in front of each other, at several
sizes, some of them mirrored.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

ACT_SECONDS = 5.0
_FEATHER = 1.5  # pixels of the photograph over which a cut-out's edge fades

# Outlines of the three people, drawn by hand in pixels of their photographs. Each leaves the
# photograph at its lower edge, which the scene keeps below that of the frame.
_OUTLINES = {
    "astronaut": """
        201,23 185,38 163,51 156,58 153,68 154,92 157,104 170,116 175,128 181,131 184,149 160,150
        142,157 128,168 121,180 114,190 112,205 107,211 90,227 76,235 65,246 40,294 39,306 34,315
        26,342 25,374 19,390 20,419 24,432 23,460 25,478 29,493 37,502 39,511 495,511 495,460
        494,426 486,405 474,382 459,366 436,351 418,345 391,345 366,349 360,338 356,302 348,283
        340,265 326,250 305,238 299,220 285,197 270,182 256,173 259,158 266,137 276,133 294,111
        300,92 296,58 288,43 276,31 248,18 227,16""",
    "cameraman": """
        250,78 233,70 219,67 200,67 176,80 171,91 164,97 161,106 150,107 130,124 109,127 80,140
        68,150 60,162 50,180 38,200 30,215 22,223 13,238 4,256 4,330 10,420 14,511 151,511 148,423
        145,402 153,380 155,364 182,328 195,318 205,294 214,297 238,310 250,311 265,302 287,285
        287,264 280,246 272,240 283,232 286,216 280,205 268,209 260,224 247,246 240,224 243,210
        240,186 246,178 244,172 252,169 252,145 258,133 267,128 270,112 262,98""",
    "officer": """
        218,30 213,43 197,49 181,64 172,87 156,102 145,102 146,196 152,198 155,219 161,228 163,262
        170,280 185,291 199,297 201,312 185,333 165,343 120,357 100,360 80,366 60,380 50,384 44,395
        36,420 30,440 27,459 17,526 11,599 504,599 501,530 503,460 498,420 490,392 484,388 460,375
        420,364 400,356 362,340 340,322 330,312 336,288 352,279 361,262 367,227 370,208 375,196
        373,185 369,183 371,134 368,95 352,86 348,71 335,56 313,44 299,41 281,27 249,23 237,25""",
}


class _Walker(NamedTuple):
    """A person who crosses the frame during one act.

    height: of the photograph, as a share of the frame's. start, end: where its middle is when the
    act begins and ends, as a share of the frame's width.
    """

    person: str
    height: float
    start: float
    end: float
    mirrored: bool = False


class _View(NamedTuple):
    """What of a photograph fills the frame: its middle (shares of width, height) and the zoom.

    Zoom 1 shows the whole height of the photograph. If its width then does not fill the frame, a
    blurred copy fills the sides.
    """

    x: float
    y: float
    zoom: float


class _Act(NamedTuple):
    """One photograph, the camera's way over it, and the walkers, the farthest first."""

    photograph: str
    first: _View
    last: _View
    walkers: tuple[_Walker, ...]


ACTS = (
    _Act(
        "garage",
        _View(0.45, 0.5, 1.4),
        _View(0.55, 0.5, 1.2),
        (
            _Walker("cameraman", 0.62, 1.15, 0.1, mirrored=True),
            _Walker("astronaut", 0.5, -0.1, 0.95),
            _Walker("officer", 0.72, 0.95, 0.35),
            _Walker("astronaut", 0.85, 0.1, 1.0, mirrored=True),
        ),
    ),
    _Act("cat", _View(0.5, 0.35, 1.0), _View(0.5, 0.5, 1.2), ()),
    _Act(
        "cameraman",
        _View(0.55, 0.5, 1.0),
        _View(0.5, 0.4, 1.3),
        (
            _Walker("officer", 0.45, 0.6, 0.95),
            _Walker("astronaut", 0.65, 1.15, 0.3),
        ),
    ),
    _Act("coffee", _View(0.5, 0.5, 1.3), _View(0.5, 0.5, 1.0), ()),
    _Act(
        "astronaut",
        _View(0.5, 0.35, 1.35),
        _View(0.45, 0.5, 1.0),
        (
            _Walker("cameraman", 0.7, -0.15, 1.1),
            _Walker("officer", 0.6, 1.1, 0.05, mirrored=True),
        ),
    ),
    _Act(
        "officer",
        _View(0.55, 0.5, 1.0),
        _View(0.5, 0.4, 1.25),
        (
            _Walker("astronaut", 0.4, 0.95, 0.7),
            _Walker("cameraman", 0.75, 1.1, -0.1, mirrored=True),
            _Walker("astronaut", 0.7, -0.15, 0.3, mirrored=True),
        ),
    ),
)


@dataclass(frozen=True)
class _Sprite:
    """A cut-out at its size in the frame: image (h, w, 3) uint8 and opacity (h, w) float32."""

    image: NDArray[np.uint8]
    opacity: NDArray[np.float32]
    background: NDArray[np.float32]  # 1 - opacity, kept because every frame needs it


class DemoScene:
    """Renders frames by their number: the same number always gives the same picture.

    width, height: of the frames in pixels. rate: frames per second of scene time.
    Raises InputError for a size below 16 x 16, a rate that is not positive, or if the photographs
    are not installed.
    """

    def __init__(self, width: int = 1280, height: int = 720, rate: float = 30.0) -> None:
        if width < 16 or height < 16 or rate <= 0:
            raise InputError(
                f"The demo scene was asked for {width}x{height} at {rate} frames per second; "
                "at least 16x16 and a rate above 0 are needed."
            )
        self.width = width
        self.height = height
        self.rate = rate
        self._sprites = {
            walker: make_sprite(walker, height) for act in ACTS for walker in act.walkers
        }
        self._surroundings = {
            name: _blurred(photograph, width, height) for name, photograph in _photographs().items()
        }

    def render(self, index: int) -> NDArray[np.uint8]:
        """Return frame `index`, a new (height, width, 3) uint8 BGR array; the scene repeats."""
        seconds = index / self.rate
        act = ACTS[int(seconds // ACT_SECONDS) % len(ACTS)]
        progress = seconds % ACT_SECONDS / ACT_SECONDS
        frame = self._background(act, progress)
        for number, walker in enumerate(act.walkers):
            x = walker.start + (walker.end - walker.start) * progress
            step = np.sin(2 * np.pi * (1.6 * seconds + 0.37 * number))
            self.paste(frame, self._sprites[walker], x, 0.006 * self.height * (1 - step))
        return frame

    def _background(self, act: _Act, progress: float) -> NDArray[np.uint8]:
        photograph = _photographs()[act.photograph]
        rows, columns = photograph.shape[:2]
        view = np.add(act.first, np.multiply(np.subtract(act.last, act.first), progress))
        scale = view[2] * self.height / rows
        # The view never leaves the photograph, but for the sides where that is too narrow.
        half_width, half_height = self.width / (2 * scale), self.height / (2 * scale)
        x = view[0] * columns
        if 2 * half_width <= columns:
            x = np.clip(x, half_width, columns - half_width)
        y = np.clip(view[1] * rows, half_height, rows - half_height)
        matrix = np.array(
            [[scale, 0, self.width / 2 - scale * x], [0, scale, self.height / 2 - scale * y]]
        )
        frame = self._surroundings[act.photograph].copy()
        size = (self.width, self.height)
        cv2.warpAffine(photograph, matrix, size, frame, borderMode=cv2.BORDER_TRANSPARENT)
        return frame

    def paste(self, frame: NDArray[np.uint8], sprite: _Sprite, x: float, sunk: float) -> None:
        """Blend the sprite in: its middle at share `x`, its lower edge `sunk` below the frame's."""
        h, w = sprite.opacity.shape
        left = round(x * self.width - w / 2)
        top = round(self.height - h + sunk)
        x0, x1 = max(left, 0), min(left + w, self.width)
        y0, y1 = max(top, 0), min(top + h, self.height)
        if x0 >= x1 or y0 >= y1:
            return
        part = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
        region = frame[y0:y1, x0:x1]
        region[:] = cv2.blendLinear(
            sprite.image[part], region, sprite.opacity[part], sprite.background[part]
        )


@cache
def _photographs() -> dict[str, NDArray[np.uint8]]:
    """Return the photographs as (H, W, 3) uint8 BGR. Raise InputError if they are not installed."""
    try:
        from matplotlib import cbook, image
        from skimage import data

        hopper = cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
        in_rgb: dict[str, NDArray[np.uint8]] = {
            "astronaut": data.astronaut(),
            "cameraman": np.dstack([data.camera()] * 3),
            "cat": data.cat(),
            "coffee": data.coffee(),
            "garage": data.stereo_motorcycle()[0],
            "officer": image.imread(hopper),
        }
    except (ImportError, OSError) as error:
        raise InputError(
            f"The demo scene lacks its photographs ({error}); they come with the PyPI packages "
            "scikit-image and matplotlib. Or name a camera or a video as the source."
        ) from None
    return {name: np.ascontiguousarray(rgb[:, :, ::-1]) for name, rgb in in_rgb.items()}


def _blurred(photograph: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Return the photograph at the size of the frame, darkened and too blurred to recognise."""
    coarse = cv2.resize(photograph, (8, 6), interpolation=cv2.INTER_AREA)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.convertScaleAbs(smooth, alpha=0.6), np.uint8)


def make_sprite(walker: _Walker, frame_height: int) -> _Sprite:
    """Cut the walker out of its photograph, at the size that it has in such a frame."""
    photograph = _photographs()[walker.person]
    rows, columns = photograph.shape[:2]
    outline = np.array([point.split(",") for point in _OUTLINES[walker.person].split()], np.int32)
    silhouette = np.zeros((rows, columns), np.float32)
    cv2.fillPoly(silhouette, [outline], 1.0, cv2.LINE_AA)
    scale = walker.height * frame_height / rows
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    picture = np.asarray(cv2.resize(photograph, size, interpolation=method), np.uint8)
    soft = cv2.GaussianBlur(silhouette, (0, 0), _FEATHER)
    opacity = np.asarray(cv2.resize(soft, size, interpolation=method), np.float32)
    if walker.mirrored:
        picture, opacity = picture[:, ::-1].copy(), opacity[:, ::-1].copy()
    return _Sprite(picture, opacity, 1 - opacity)
