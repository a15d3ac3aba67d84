"""Images in tiles: what each view shows is put together, each object whole and once."""

import numpy as np
import pytest
import torch
from scipy import ndimage

import sipmask_core as sm
from sipmask_core.inference.tile_merging import merge
from sipmask_core.inference.tiles import MOST_TILES, TiledSegmenter, read_grid, tiled, views

SIZE = (80, 120)


class Blobs:
    """Sees each connected blob: value 1 to 100 is class 0, more class 1; value / 255 the score.

    least, most: sides of the blobs that it sees, in shares of the longer side of what it is shown.
    """

    model_name, class_names = "blobs", ("low", "high")
    device, precision = torch.device("cpu"), "fp32"

    def __init__(self, least: float = 0.0, most: float = 1.0) -> None:
        self.score_threshold: float | None = None
        self.batches: list[list[tuple[int, int]]] = []
        self._range = least, most

    def __call__(self, image):
        return self.predict_batch([image])[0]

    def predict_batch(self, images):
        if any(np.ndim(image) != 3 for image in images):
            raise sm.InputError("no image")
        self.batches.append([image.shape[:2] for image in images])
        return [self._see(image[..., 0]) for image in images]

    def _see(self, image):
        masks = []
        for value in np.unique(image[image > 0]):
            blobs, number = ndimage.label(image == value)
            masks += [(blobs == i + 1, value) for i in range(number)]
        least, most = (share * max(image.shape) for share in self._range)
        masks = [
            (mask, value)
            for mask, value in masks
            if least <= max(np.ptp(np.nonzero(mask), axis=1) + 1) <= most
        ]
        return sm.Instances.from_masks(
            np.array([mask for mask, _ in masks]).reshape(-1, *image.shape),
            [value / 255 for _, value in masks],
            [int(value > 100) for _, value in masks],
        )


def picture(*blobs):
    """Return an image with rectangles of (x0, y0, x1, y1, value)."""
    image = np.zeros((*SIZE, 3), np.uint8)
    for x0, y0, x1, y1, value in blobs:
        image[y0:y1, x0:x1] = value
    return image


def assert_seen(instances, *blobs):
    assert instances.boxes.tolist() == [list(blob[:4]) for blob in blobs]
    assert instances.scores.tolist() == pytest.approx([blob[4] / 255 for blob in blobs])
    assert np.array_equal(instances.masks, [picture(blob)[..., 0] > 0 for blob in blobs])
    assert instances.image_size == SIZE


# Wherever it lies: at a corner of the image, in the middle of tiles, across one border and two.
@pytest.mark.parametrize("x", [0, 20, 44, 52, 60, 110])
@pytest.mark.parametrize("y", [0, 30, 38, 70])
@pytest.mark.parametrize("grid", [(2, 2), (3, 1), (4, 3)])
def test_a_small_object_that_only_tiles_show_comes_whole_and_once(x, y, grid):
    blob = (x, y, x + 10, y + 10, 200)
    blind_to_small = Blobs(least=11 / 120)
    assert len(blind_to_small(picture(blob))) == 0
    assert_seen(TiledSegmenter(blind_to_small, *grid)(picture(blob)), blob)


@pytest.mark.parametrize("grid", [(2, 2), (3, 2), (4, 1), (1, 3)])
def test_an_object_that_every_view_cuts_is_joined_from_its_pieces(grid):
    columns, _ = grid
    across = (3, 36, 117, 44, 200) if columns > 1 else (50, 3, 60, 77, 200)
    blind_to_large = Blobs()
    see = blind_to_large._see
    blind_to_large._see = lambda image: (
        sm.Instances.empty(SIZE) if image.shape == SIZE else see(image)
    )
    assert_seen(TiledSegmenter(blind_to_large, *grid)(picture(across)), across)


def test_what_the_whole_image_shows_is_never_lost_and_its_pieces_are_left_out():
    large, small = (5, 5, 115, 75, 90), (50, 30, 70, 50, 200)
    image = picture(large, small)
    whole = Blobs()(image)
    found = TiledSegmenter(Blobs(), 3, 2)(image)
    assert np.array_equal(found.masks, whole.masks)
    assert np.array_equal(found.labels, whole.labels)


def test_a_piece_that_no_other_view_confirms_is_left_out():
    size = (10, 20)
    image, left, right = views(size, 2, 1)
    piece = sm.Instances.from_masks(np.ones((1, 10, left.x1)), [0.9], [0])
    nothing = [sm.Instances.empty((10, view.x1 - view.x0)) for view in (image, right)]
    assert len(merge([(image, nothing[0]), (left, piece), (right, nothing[1])])) == 0


def test_neighbours_of_one_class_and_an_object_of_another_class_inside_stay_apart():
    first, second = (40, 30, 58, 50, 200), (62, 30, 80, 50, 200)
    inside = (45, 35, 50, 40, 90)
    assert_seen(TiledSegmenter(Blobs(least=0.05), 2, 2)(picture(second, inside)), second, inside)
    found = TiledSegmenter(Blobs(), 2, 2)(picture(first, second))
    assert sorted(found.boxes[:, 0].tolist()) == [40, 62]


def test_the_sharper_score_of_the_views_counts_and_the_order_is_by_score():
    image, *tiles = views(SIZE, 2, 1)
    seen = [sm.Instances.from_masks(picture((5, 5, 15, 15, 1))[None, ..., 0], [0.4], [0])]
    for tile, scores in zip(tiles, ([0.7], [0.9]), strict=True):
        corner = (20, 60) if tile.x0 else (5, 5)  # another object in the second tile
        mask = np.zeros((1, SIZE[0], tile.x1 - tile.x0), bool)
        mask[0, corner[1] : corner[1] + 10, corner[0] : corner[0] + 10] = True
        seen.append(sm.Instances.from_masks(mask, scores, [0]))
    found = merge(list(zip([image, *tiles], seen, strict=True)))
    assert found.scores.tolist() == pytest.approx([0.9, 0.7])


def test_tiles_cover_the_image_alike_and_overlap():
    for size in ((1, 1), (3, 200), (480, 640), (719, 1281)):
        image, *tiles = views(size, 4, 3)
        assert image == (0, 0, size[1], size[0])
        covered = np.zeros(size, int)
        for x0, y0, x1, y1 in tiles:
            covered[y0:y1, x0:x1] += 1
        assert covered.all()
        assert len({(x1 - x0, y1 - y0) for x0, y0, x1, y1 in tiles}) == 1
    first, second = views((10, 1000), 2, 1)[1:]
    assert (first.x1 - second.x0) / (first.x1 - first.x0) == pytest.approx(0.25, abs=0.01)


def test_all_views_of_all_images_go_through_the_model_in_one_batch_and_come_back_in_order():
    model = Blobs()
    images = [picture((5, 5, 15, 15, 200)), picture(), np.zeros((9, 9, 3), np.uint8)]
    found = TiledSegmenter(model, 2, 2).predict_batch(images)
    assert [len(instances) for instances in found] == [1, 0, 0]
    assert [instances.image_size for instances in found] == [SIZE, SIZE, (9, 9)]
    ((*sizes,),) = model.batches
    assert len(sizes) == 15


def test_embeddings_stay_with_their_objects_beside_views_without_any():
    image, *tiles = views(SIZE, 2, 1)
    mask = picture((5, 5, 15, 15, 1))[None, ..., 0]
    found = sm.Instances.from_masks(mask, [0.5], [0])
    object.__setattr__(found, "embeddings", np.ones((1, 7), np.float32))
    empty = [(tile, sm.Instances.empty((SIZE[0], tile.x1 - tile.x0))) for tile in tiles]
    assert merge([(image, found), *empty]).embeddings.tolist() == [[1] * 7]


def test_a_tiled_segmenter_keeps_the_border_and_passes_the_threshold_on():
    from sipmask_core.segmenter import shortcomings

    model = Blobs()
    segmenter = tiled(model, "3x2")
    assert shortcomings(segmenter) == ""
    segmenter.score_threshold = 0.25
    assert model.score_threshold == 0.25
    assert segmenter.model_name == "blobs in 3x2 tiles"
    with pytest.raises(sm.InputError, match="no image"):
        segmenter(np.zeros((4, 4), np.uint8))


@pytest.mark.parametrize("text", ["", "1x1"])
def test_the_whole_image_alone_needs_no_tiles(text):
    model = Blobs()
    assert tiled(model, text) is model


@pytest.mark.parametrize(
    "text", ["2", "2x", "x2", "0x2", "2x0", "-1x2", "2x2x2", "9x9", "2.0x2", " "]
)
def test_other_texts_are_refused_in_a_sentence(text):
    with pytest.raises(sm.InputError, match=f"columns x rows such as 2x2, {MOST_TILES} tiles"):
        read_grid(text)
