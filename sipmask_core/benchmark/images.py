"""The images that a benchmark runs over: photographs, the same ones wherever it runs."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from sipmask_core.imaging.image_files import images_in, read_image

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

MAX_IMAGES = 32
DEFAULT_SIZE = (720, 1280)
JPEG_QUALITY = 95


class Photo(NamedTuple):
    """An image: `encoded` bytes of a JPEG, and the `pixels` (H, W, 3) BGR that these decode to."""

    name: str
    encoded: NDArray[np.uint8]
    pixels: NDArray[np.uint8]


def images_at(path: Path, size: tuple[int, int] | None) -> list[Photo]:
    """Read an image file, or the first `MAX_IMAGES` of a folder by name, at `size` (H, W) if given.

    Raise InputError if there is no image, or one cannot be read.
    """
    files = images_in(path).images[:MAX_IMAGES] if path.is_dir() else [path]
    found = []
    for file in files:
        image = read_image(file)
        found.append(_encoded(file.name, image if size is None else _cover(image, size)))
    return found


def standard_images(size: tuple[int, int] | None) -> list[Photo]:
    """Return photographs that come with scikit-image and matplotlib; without any, a pattern."""
    photographs = {**_astronaut(), **_officer()} or {"pattern": _pattern()}
    return [
        _encoded(name, _cover(pixels, size or DEFAULT_SIZE)) for name, pixels in photographs.items()
    ]


def sha256_of_pixels(images: Iterable[Photo]) -> str:
    """Hash the shapes and pixels of all images together."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(f"{image.pixels.shape}".encode())
        digest.update(image.pixels.tobytes())
    return digest.hexdigest()


def _astronaut() -> dict[str, NDArray[np.uint8]]:
    try:
        from skimage import data
    except ImportError:
        return {}
    return {"astronaut": np.ascontiguousarray(data.astronaut()[..., ::-1])}


def _officer() -> dict[str, NDArray[np.uint8]]:
    import matplotlib

    file = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    pixels = cv2.imread(str(file), cv2.IMREAD_COLOR) if file.exists() else None
    return {} if pixels is None else {"officer": np.asarray(pixels, np.uint8)}


def _pattern() -> NDArray[np.uint8]:
    coarse = np.random.default_rng(0).integers(0, 256, (9, 16, 3), np.uint8)
    smooth = cv2.resize(coarse, DEFAULT_SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth, np.uint8)


def _cover(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale the image to cover (H, W), and cut out its top middle part."""
    height, width = size
    factor = max(height / image.shape[0], width / image.shape[1])
    h, w = (round(side * factor) for side in image.shape[:2])
    rule = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    scaled = np.asarray(cv2.resize(image, (w, h), interpolation=rule), np.uint8)
    left = (w - width) // 2
    return np.ascontiguousarray(scaled[:height, left : left + width])


def _encoded(name: str, pixels: NDArray[np.uint8]) -> Photo:
    """Encode the image as a JPEG, and keep that and what it decodes to."""
    _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    return Photo(name, np.asarray(encoded, np.uint8), np.asarray(decoded, np.uint8))
