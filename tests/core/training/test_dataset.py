import cv2
import numpy as np
import pytest
from coco_documents import SQUARE, document, read
from coco_squares import write_squares
from pycocotools import mask as coco_mask

from sipmask_core.data.coco import read_annotations
from sipmask_core.errors import InputError
from sipmask_core.training.dataset import CocoDataset


def dataset(folder, content, **options):
    cv2.imwrite(str(folder / "a.png"), np.full((60, 80, 3), 9, np.uint8))
    return CocoDataset(read(folder, content), folder, **options)


def square_mask():
    mask = np.zeros((60, 80), np.uint8)
    mask[20:50, 10:30] = 1
    return mask


@pytest.mark.parametrize("form", ["polygon", "compressed", "uncompressed"])
def test_polygons_and_both_rle_forms_give_the_same_mask(tmp_path, form):
    encoded = coco_mask.encode(np.asfortranarray(square_mask()))["counts"].decode()
    runs = [10 * 60 + 20] + [30, 30] * 19 + [30, 50 * 60 + 10]
    segmentation = {
        "polygon": [SQUARE],
        "compressed": {"size": [60, 80], "counts": encoded},
        "uncompressed": {"size": [60, 80], "counts": runs},
    }[form]
    _, target = dataset(tmp_path, document(segmentation=segmentation))[0]
    assert np.array_equal(target["masks"], square_mask()[None])
    assert target["boxes"].tolist() == [[10, 20, 30, 50]]
    assert target["labels"].tolist() == [1]


def test_polygons_of_one_object_are_united(tmp_path):
    pieces = [SQUARE, [40, 20, 50, 20, 50, 50, 40, 50]]
    _, target = dataset(tmp_path, document(segmentation=pieces))[0]
    assert target["masks"].shape == (1, 60, 80)
    assert target["masks"].sum() == 20 * 30 + 10 * 30


def test_crowds_are_regions_to_ignore_and_never_objects(tmp_path):
    content = document(iscrowd=1)
    content["annotations"].append({**content["annotations"][0], "id": 6, "iscrowd": 0})
    data = dataset(tmp_path, content)
    assert [o.is_crowd for o in data.annotations.images[0].objects] == [True, False]
    _, target = data[0]
    assert target["ids"].tolist() == [2], "objects are counted"
    assert np.array_equal(target["ignore"], square_mask())


def test_an_object_without_a_mask_fills_its_box_and_says_so(tmp_path):
    content = document(segmentation=None)
    content["annotations"].append({**document()["annotations"][0], "id": 6})
    _, target = dataset(tmp_path, content)[0]
    assert target["has_mask"].tolist() == [False, True]
    assert not target["uncertain"].any() and not target["ignore"].any()
    assert np.array_equal(target["masks"][0], square_mask())
    assert target["boxes"][0].tolist() == [10, 20, 30, 50]


def test_a_crowd_without_a_mask_is_an_uncertain_object(tmp_path):
    _, target = dataset(tmp_path, document(segmentation=None, iscrowd=1))[0]
    assert target["uncertain"].tolist() == [True]
    assert target["boxes"].tolist() == [[10, 20, 30, 50]]
    assert not target["ignore"].any()


def test_without_crowds_nothing_is_ignored(tmp_path):
    _, target = dataset(tmp_path, document())[0]
    assert target["ignore"].shape == (60, 80) and not target["ignore"].any()


def test_an_object_of_less_than_a_pixel_is_no_target(tmp_path):
    data = dataset(tmp_path, document(bbox=[10, 20, 0.5, 30]))
    assert len(data.annotations.images[0].objects) == 1
    assert data[0][1]["boxes"].shape == (0, 4)
    assert data[0][1]["masks"].shape == (0, 60, 80)


def test_images_without_objects_are_kept(tmp_path):
    annotations, images = write_squares(tmp_path, count=3)
    data = CocoDataset(read_annotations(annotations), images)
    assert [len(target["labels"]) for _, target in (data[i] for i in range(3))] == [1, 1, 0]


def test_max_side_scales_image_boxes_and_masks_alike(tmp_path):
    image, target = dataset(tmp_path, document(), max_side=40)[0]
    assert image.shape == (30, 40, 3)
    assert target["boxes"].tolist() == [[5, 10, 15, 25]]
    assert np.array_equal(target["masks"][0], square_mask()[::2, ::2])


def test_scaled_images_are_decoded_once_while_the_cache_has_room(tmp_path):
    data = dataset(tmp_path, document(), max_side=40)
    first = data[0]
    (tmp_path / "a.png").unlink()
    again = data[0]
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1]["masks"], again[1]["masks"])

    bounded = dataset(tmp_path, document(), max_side=40, cache_bytes=100)
    bounded.fill_cache()
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match=r"a\.png does not exist"):
        bounded[0]


def test_missing_damaged_and_wrongly_sized_images_are_named(tmp_path):
    with pytest.raises(InputError, match=r"a\.png does not exist"):
        CocoDataset(read(tmp_path, document()), tmp_path)[0]
    data = dataset(tmp_path, document())
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"a\.png cannot be decoded"):
        data[0]
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((80, 60, 3), np.uint8))
    with pytest.raises(InputError, match="has 80 x 60 pixels, the annotations say 60 x 80"):
        data[0]
