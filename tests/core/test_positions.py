from dataclasses import replace
from statistics import mean

import numpy as np
import pytest
from depth_scenes import LENS, SCENES, SIZE, Scene, facing, sphere, to_instances, view
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from sipmask_core import positions
from sipmask_core.instances import Instances
from sipmask_core.mask_crop import MaskCrop
from sipmask_core.positions import Lens, locate, nearest_layer

MILLIMETRE = 1e-3


def rectangle(x, y, width, height):
    mask = np.zeros((1, *SIZE), bool)
    mask[0, y : y + height, x : x + width] = True
    return to_instances(mask)


def plainly(instances, depth, unit, lens):
    """Do what `locate` does, pixel by pixel; return points, deviations, pixels and coverage."""
    found = []
    for crop in instances.mask_crops:
        values = {}
        for y, x in zip(*map(list, positions.places(crop)), strict=True):
            row = int(y * depth.shape[0] / instances.image_size[0])
            column = int(x * depth.shape[1] / instances.image_size[1])
            value = float(depth[row, column])
            bad = not 0 < value < np.inf or (depth.dtype == np.uint16 and value == 65535)
            values[y, x] = None if bad else value
        ordered = sorted(value for value in values.values() if value is not None)
        coverage = len(ordered) / len(values)
        if len(ordered) < positions.MIN_PIXELS or coverage < positions.MIN_COVERAGE:
            found.append(([np.nan] * 3, np.nan, 0, coverage))
            continue
        layer = ordered[nearest_layer(np.array(ordered, np.float32))]
        own = [p for p, v in values.items() if v is None or layer[0] <= v <= layer[-1]]
        middle = np.array([[mean(int(x) for _, x in own), mean(int(y) for y, _ in own)]])
        low, z, high = (layer[len(layer) * quarter // 4] * unit for quarter in (1, 2, 3))
        ray = lens.rays(middle)[0]
        found.append(([*(ray * z), z], 0.7413 * (high - low), len(layer), coverage))
    return tuple(np.array(column) for column in zip(*found, strict=True))


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
@pytest.mark.parametrize("seed", [0, 1])
def test_objects_are_where_the_scene_has_them_within_a_hundredth_of_their_distance(scene, seed):
    seen = view(scene, seed)
    found = locate(seen.instances, seen.depth, MILLIMETRE, LENS)
    assert found.valid.all()
    errors = np.linalg.norm(found.points - seen.points, axis=1)
    assert (errors <= np.maximum(0.01, 0.01 * seen.points[:, 2])).all(), errors


@pytest.mark.parametrize("scene", SCENES[:4], ids=lambda scene: scene.name)
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("shrunk", [1, 2])
def test_it_equals_the_plain_way(scene, dtype, shrunk):
    seen = view(scene)
    unit = MILLIMETRE if dtype == np.uint16 else 1.0
    depth = (seen.depth * (MILLIMETRE / unit)).astype(dtype)[::shrunk, ::shrunk]
    found = locate(seen.instances, depth, unit, LENS)
    points, deviations, pixels, coverage = plainly(seen.instances, depth, unit, LENS)
    assert np.allclose(found.points, points, rtol=1e-9, equal_nan=True)
    assert np.allclose(found.deviations, deviations, rtol=1e-9)
    assert np.array_equal(found.pixels, pixels)
    assert np.allclose(found.coverage, coverage)


def test_a_box_holds_what_is_seen_of_an_object_and_nothing_behind_it():
    seen = view(Scene("", {"ball": [sphere(0.3, -0.1, 2.0, 0.4)]}, (facing(0, 0, 5, 40, 40),)))
    found = locate(seen.instances, seen.true_depth.astype(np.float32), 1.0, LENS)
    (left, top, near), (right, bottom, far) = found.boxes[0]
    depths = seen.true_depth[seen.true_masks[0]]
    assert near == pytest.approx(np.quantile(depths, 0.05), abs=0.01)
    # The outermost places on the mask are left out.
    assert far == pytest.approx(np.quantile(depths, 0.95), abs=0.1) and far < 2.0
    assert [right - left, bottom - top] == pytest.approx(found.sizes[0].tolist())
    assert [(left + right) / 2, (top + bottom) / 2] == pytest.approx([0.3, -0.1], abs=0.05)


def test_an_unknown_position_has_no_box():
    seen = view(Scene("", {"sign": [facing(0.3, -0.2, 1.5, 0.6, 0.4)]}))
    found = locate(seen.instances, np.zeros(SIZE, np.uint16), MILLIMETRE, LENS)
    assert np.isnan(found.boxes).all() and found.boxes.shape == (1, 2, 3)
    nobody = seen.instances[:0]
    assert locate(nobody, np.zeros(SIZE, np.uint16), MILLIMETRE, LENS).boxes.shape == (0, 2, 3)


def test_the_middle_of_a_rectangle_and_its_size_are_exact():
    seen = view(Scene("", {"sign": [facing(0.3, -0.2, 1.5, 0.6, 0.4)]}))
    found = locate(seen.instances, seen.true_depth.astype(np.float32), 1.0, LENS)
    pixel = 1.5 / 520
    assert found.points[0] == pytest.approx([0.3, -0.2, 1.5], abs=pixel)
    assert found.sizes[0] == pytest.approx([0.6, 0.4], abs=pixel)
    assert found.deviations[0] == pytest.approx(0, abs=1e-6)
    assert found.coverage[0] == 1


def plane(normal, distance):
    """Return the depth (H, W) float32 of the points p with p @ normal = distance."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(float)
    along = LENS.rays(np.stack([x.ravel(), y.ravel()], 1)) @ normal[:2] + normal[2]
    return (distance / along).reshape(SIZE).astype(np.float32)


def test_on_a_slanted_plane_the_point_of_a_rectangle_lies_on_the_plane():
    normal, distance = np.array([0.7, -0.3, 0.6]), 1.2
    found = locate(rectangle(250, 150, 160, 120), plane(normal, distance), 1.0, LENS)
    assert found.points[0] @ normal == pytest.approx(distance, rel=1e-3)
    assert found.deviations[0] > 0.05


def test_on_a_slanted_plane_the_points_of_a_triangle_and_an_l_lie_near_the_plane():
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    triangle = (x > 200) & (x < 440) & (abs(y - 240) < (x - 200) / 2)
    letter = (x > 200) & (y > 140) & (y < 340) & (x < 440) & ((x < 240) | (y > 300))
    normal = np.array([-1, 0, 1]) / np.sqrt(2)  # 45 degrees, 2 m away on the axis
    instances = to_instances(np.stack([triangle, letter]))
    found = locate(instances, plane(normal, 2 * normal[2]), 1.0, LENS)
    off = 100 * np.abs(found.points @ normal - 2 * normal[2])
    assert off == pytest.approx([2.3, 7.2], abs=0.1)  # centimetres, as docs/depth.md says


def test_of_a_ball_it_is_the_surface_that_is_seen():
    seen = view(Scene("", {"ball": [sphere(0, 0, 5, 0.5)]}, (facing(0, 0, 9, 40, 40),)))
    found = locate(seen.instances, seen.depth, MILLIMETRE, LENS)
    # Half of a disc lies within this distance of its middle: radius / sqrt(2).
    assert found.points[0] == pytest.approx([0, 0, 5 - 0.5 / np.sqrt(2)], abs=0.05)


@pytest.mark.parametrize("share", [0.35, 0.5, 0.8])
def test_the_nearer_of_two_layers_counts_also_when_it_is_the_smaller(share):
    depth = np.full(SIZE, 4000, np.uint16)
    depth[:, 200 : 200 + int(200 * share)] = 2000
    found = locate(rectangle(200, 100, 200, 200), depth, MILLIMETRE, LENS)
    assert found.points[0, 2] == 2
    middle = LENS.rays(np.array([[200 + 100 * share, 199.5]]))[0] * 2
    assert found.points[0, :2] == pytest.approx(middle, abs=0.02)


def test_a_small_thing_in_front_does_not_count():
    depth = np.full(SIZE, 4000, np.uint16)
    depth[:, 200:240] = 2000
    found = locate(rectangle(200, 100, 200, 200), depth, MILLIMETRE, LENS)
    assert found.points[0, 2] == 4


def plain_layers(depths):
    """Return windows of near depths, joined if they share some: (start, end) of each."""
    step = max(1, int(len(depths) * positions.NEIGHBOURS))
    layers = []
    for start in range(len(depths) - step):
        if depths[start + step] <= np.float32(1 + positions.GAP) * depths[start]:
            if layers and start < layers[-1][1]:
                layers[-1][1] = start + step + 1
            else:
                layers.append([start, start + step + 1])
    return layers


@pytest.mark.parametrize("seed", range(20))
def test_the_nearest_layer_equals_the_plain_way(seed):
    rng = np.random.default_rng(seed)
    middles = rng.uniform(300, 9000, rng.integers(1, 6))
    clusters = [rng.normal(m, m * rng.uniform(0, 0.1), rng.integers(1, 150)) for m in middles]
    depths = np.sort(np.concatenate(clusters)).astype(np.uint16)
    layers = plain_layers(depths)
    enough = [i for i in layers if i[1] - i[0] >= positions.SHARE * len(depths)]
    largest = max(layers, key=lambda i: i[1] - i[0], default=(0, len(depths)))
    assert nearest_layer(depths) == slice(*(enough[0] if enough else largest))


def test_without_any_layer_all_depths_count():
    depths = np.geomspace(1, 1000, 40)
    assert nearest_layer(depths) == slice(0, 40)


@pytest.mark.parametrize("missing", [0, -1, np.nan, np.inf, -np.inf, 3e38])
def test_missing_metres_are_left_out(missing):
    depth = np.full(SIZE, missing, np.float32)
    depth[:, 300:] = 2
    found = locate(rectangle(200, 100, 200, 200), depth, 1.0, LENS)
    assert found.points[0, 2] == 2
    assert found.coverage[0] == pytest.approx(0.5, abs=0.02)
    # What has no depth is still of the object: its middle stays.
    assert found.points[0, 0] == pytest.approx(2 * (299.5 - 322) / 525, abs=0.01)


@pytest.mark.parametrize("missing", [0, 65535])
def test_missing_millimetres_are_left_out(missing):
    depth = np.full(SIZE, missing, np.uint16)
    depth[:, 350:] = 2000
    found = locate(rectangle(200, 100, 200, 200), depth, MILLIMETRE, LENS)
    assert found.points[0, 2] == 2
    assert found.coverage[0] == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("known", [0, 4, 7])
def test_with_too_few_depths_nothing_is_invented(known):
    depth = np.zeros(SIZE, np.uint16)
    depth[100, 200 : 200 + known] = 2000
    found = locate(rectangle(200, 100, 8, 2), depth, MILLIMETRE, LENS)
    assert not found.valid.any()
    assert np.isnan(found.points).all() and np.isnan(found.sizes).all()
    assert np.isnan(found.deviations).all()
    assert found.pixels[0] == 0
    assert found.coverage[0] == known / 16


def test_with_depth_for_a_tiny_part_of_a_mask_nothing_is_invented():
    depth = np.zeros(SIZE, np.uint16)
    depth[100:110] = 2000
    found = locate(rectangle(200, 90, 200, 380), depth, MILLIMETRE, LENS)
    assert not found.valid[0]
    assert 0 < found.coverage[0] < positions.MIN_COVERAGE


def gaps(size, scale):
    """Return which of `size` pixels have a depth if another camera's are spread by `scale`."""
    filled = np.zeros(size, bool)
    filled[np.unique(np.rint(np.arange(0, size / scale) * scale).astype(int).clip(0, size - 1))] = 1
    return filled


@pytest.mark.parametrize("scale", [1.1, 1.25, 1.5, 1.9, 2, 2.1, 2.5, 3, 3.7, 4])
@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("pattern", ["grid", "rows", "columns"])
def test_coverage_is_the_true_share_whatever_the_gaps_between_depths(scale, factor, pattern):
    size = [factor * side for side in SIZE]
    rows = gaps(size[0], scale) if pattern != "columns" else np.ones(size[0], bool)
    columns = gaps(size[1], scale) if pattern != "rows" else np.ones(size[1], bool)
    depth = np.where(rows[:, None] & columns, 2.0, np.nan).astype(np.float32)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    masks = [rectangle(*sides).masks[0] for sides in [(0, 0, 640, 480), (5, 8, 80, 160)]]
    masks += [rectangle(*sides).masks[0] for sides in [(101, 50, 241, 121), (300, 9, 47, 400)]]
    masks += [(x - 300) ** 2 / 9 + (y - 200) ** 2 < radius**2 for radius in (25, 60)]
    found = locate(to_instances(np.stack(masks)), depth, 1.0, LENS)
    assert found.valid.all()
    assert found.points[:, 2] == pytest.approx(2)
    assert found.coverage == pytest.approx(rows.mean() * columns.mean(), abs=0.05)


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (40, 40), (33, 1000), (1080, 1920), (9, 200)])
def test_places_are_spread_over_all_of_a_mask_and_bounded(shape):
    y, x = positions.places(MaskCrop(0, 0, np.ones(shape, bool)))
    assert len(y) <= positions.GRID**2
    assert (y >= 0).all() and (y < shape[0]).all() and (x >= 0).all() and (x < shape[1]).all()
    assert y.mean() == pytest.approx(shape[0] / 2, abs=max(0.5, 0.02 * shape[0]))
    assert x.mean() == pytest.approx(shape[1] / 2, abs=max(0.5, 0.02 * shape[1]))


@pytest.mark.parametrize(("width", "height"), [(4, 2), (1, 8), (3, 3), (2, 300), (640, 1)])
def test_small_and_thin_masks_have_a_position(width, height):
    depth = np.full(SIZE, 1500, np.uint16)
    found = locate(rectangle(0, 20, width, height), depth, MILLIMETRE, LENS)
    middle = LENS.rays(np.array([[(width - 1) / 2, 20 + (height - 1) / 2]]))[0]
    assert found.points[0] == pytest.approx([*(1.5 * middle), 1.5], abs=0.02)


def test_an_empty_mask_has_no_position_and_leaves_the_others_theirs():
    one = rectangle(200, 100, 50, 50)
    empty = MaskCrop(0, 0, np.zeros((0, 0), bool))
    instances = Instances(
        boxes=np.zeros((2, 4), np.float32),
        scores=np.array([0.9, 0.8], np.float32),
        labels=np.zeros(2, np.int64),
        mask_crops=[empty, *one.mask_crops],
        image_size=SIZE,
    )
    depth = np.full(SIZE, 1500, np.uint16)
    curved = Lens(LENS.focal, LENS.centre, (0.1, -0.05, 0, 0))
    for lens in (LENS, curved):
        found = locate(instances, depth, MILLIMETRE, lens)
        assert found.valid.tolist() == [False, True]


def test_where_a_lens_sends_nothing_no_position_is_invented():
    narrow = Lens((100.0, 100.0), LENS.centre, (0.0, 0.0, 0.0, 0.0), fisheye=True)
    depth = np.full(SIZE, 1500, np.uint16)
    found = locate(rectangle(560, 400, 60, 60), depth, MILLIMETRE, narrow)
    assert not found.valid[0] and found.pixels[0] == 0 and np.isnan(found.deviations[0])
    assert locate(rectangle(300, 200, 60, 60), depth, MILLIMETRE, narrow).valid[0]


def test_of_no_objects_there_are_no_positions():
    found = locate(Instances.empty(SIZE), np.ones(SIZE, np.float32), 1.0, LENS)
    assert found.points.shape == (0, 3) and found.sizes.shape == (0, 2)
    assert found.valid.shape == (0,)


@pytest.mark.parametrize("factor", [0.25, 0.5, 2])
def test_a_depth_image_of_another_size_gives_the_same_positions(factor):
    seen = view(replace(SCENES[2], holes=0))
    step = max(1, round(1 / factor))
    depth = seen.depth[step // 2 :: step, step // 2 :: step].repeat(max(1, int(factor)), 0)
    depth = depth.repeat(max(1, int(factor)), 1)
    assert depth.shape[0] == SIZE[0] * factor
    found = locate(seen.instances, depth, MILLIMETRE, LENS)
    assert np.allclose(found.points, seen.points, atol=0.03)


def test_the_work_for_a_mask_is_bounded(monkeypatch):
    seen = []
    layer = nearest_layer
    monkeypatch.setattr(positions, "nearest_layer", lambda d: seen.append(len(d)) or layer(d))
    depth = np.full((1080, 1920), 1500, np.uint16)
    instances = to_instances(np.ones((1, 1080, 1920), bool))
    assert locate(instances, depth, MILLIMETRE, LENS).valid[0]
    assert seen[0] <= positions.GRID**2


@settings(max_examples=100, deadline=None)
@given(
    masks=arrays(bool, st.tuples(st.integers(0, 3), st.integers(1, 60), st.integers(1, 60))),
    depth=st.one_of(
        arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, max_side=30)),
        arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=30)),
    ),
)
def test_whatever_the_camera_gives_a_position_is_known_whole_or_not_at_all(masks, depth):
    found = locate(to_instances(masks), depth, 1.0, LENS)
    numbers = np.column_stack([found.points, found.deviations, found.sizes])
    assert (np.isfinite(numbers).all(1) == found.valid).all()
    assert (np.isnan(numbers).all(1) == ~found.valid).all()
    assert (found.points[found.valid, 2] > 0).all()
    assert (found.pixels[found.valid] >= positions.MIN_PIXELS).all()
    assert (found.pixels[~found.valid] == 0).all()
