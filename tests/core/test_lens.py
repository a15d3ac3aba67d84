import cv2
import numpy as np
import pytest

from sipmask_core.positions import Lens

FOCAL, CENTRE = (500.0, 510.0), (322.0, 236.0)
MATRIX = np.array([[500, 0, 322], [0, 510, 236], [0, 0, 1.0]])
RAYS = np.stack(np.meshgrid(np.linspace(-0.6, 0.6, 7), np.linspace(-0.45, 0.45, 5)), -1)
RAYS = RAYS.reshape(-1, 2)


def test_a_pixel_without_distortion_is_divided_by_the_focal_length():
    pixels = np.array([[322.0, 236.0], [822.0, 236.0], [322.0, -274.0]])
    assert Lens(FOCAL, CENTRE).rays(pixels).tolist() == [[0, 0], [1, 0], [0, -1]]


@pytest.mark.parametrize(
    "distortion",
    [
        (0.1, -0.2, 0.001, -0.002),
        (-0.3, 0.1, 0.001, -0.002, -0.01),
        (0.5, -2.7, 0.0006, 0.0001, 1.5, 0.4, -2.5, 1.4),
    ],
)
def test_distortion_is_taken_back(distortion):
    points = np.insert(RAYS, 2, 1, axis=1)
    pixels, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), MATRIX, np.array(distortion))
    found = Lens(FOCAL, CENTRE, distortion).rays(pixels[:, 0])
    assert np.allclose(found, RAYS, atol=1e-6)


@pytest.mark.parametrize("distortion", [(0.0, 0.0, 0.0, 0.0), (-0.02, 0.005, -0.003, 0.0005)])
def test_a_fisheye_is_taken_back(distortion):
    points = np.insert(RAYS, 2, 1, axis=1)[:, None]
    pixels, _ = cv2.fisheye.projectPoints(
        points, np.zeros(3), np.zeros(3), MATRIX, np.array(distortion)
    )
    found = Lens(FOCAL, CENTRE, distortion, fisheye=True).rays(pixels[:, 0])
    assert np.allclose(found, RAYS, atol=1e-6)


def test_beyond_half_a_turn_a_fisheye_sees_nothing():
    lens = Lens((100.0, 100.0), CENTRE, (0.0,) * 4, fisheye=True)
    found = lens.rays(np.array([[322.0, 236.0], [622.0, 236.0]]))
    assert found[0].tolist() == [0, 0]
    assert np.isnan(found[1]).all()


@pytest.mark.parametrize("distortion", [(), (0.1, 0.0, 0.0, 0.0)])
def test_no_pixels_give_no_rays(distortion):
    assert Lens(FOCAL, CENTRE, distortion).rays(np.zeros((0, 2))).shape == (0, 2)


@pytest.mark.parametrize(
    ("distortion", "fisheye"),
    [
        ((-0.35, 0.0, 0.0, 0.0, 0.0), False),
        ((-0.45, 0.2, 0.0, 0.0, -0.04), False),
        ((0.1, 0.0, 0.0, 0.0), True),
        ((-0.02, 0.01, -0.01, 0.002), True),
    ],
)
def test_a_ray_leads_back_to_its_pixel_or_there_is_none(distortion, fisheye):
    """Take lenses that bend what is far off the axis too much for its pixels to be taken back."""
    focal = 300.0
    lens = Lens((focal, focal), (640.0, 360.0), distortion, fisheye)
    pixels = np.stack(np.meshgrid(np.arange(0.0, 1280, 40), np.arange(0.0, 720, 40)), -1)
    pixels = pixels.reshape(-1, 2)
    rays = lens.rays(pixels)
    seen = np.isfinite(rays).all(axis=1)
    assert 0.02 < seen.mean() < 0.9
    # The definitions in OpenCV's documentation, written out.
    x, y = rays[seen].T
    r = np.hypot(x, y)
    k = distortion
    if fisheye:
        angle = np.arctan(r)
        bent = angle * (1 + sum(k[i] * angle ** (2 * i + 2) for i in range(4)))
        factor = bent / np.maximum(r, 1e-9)
    else:
        factor = 1 + k[0] * r**2 + k[1] * r**4 + k[4] * r**6
    back = np.stack([x, y], axis=1) * factor[:, None] * focal + [640, 360]
    assert np.abs(back - pixels[seen]).max() < 0.6
