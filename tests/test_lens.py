import cv2
import numpy as np
import pytest

from sipmask_core.lens import Lens

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
