"""Annotation and results files: read and scored, or refused in one sentence."""

import json

import numpy as np
import pytest
from fuzzing import damaged, fuzz, may_refuse, mutated
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from sipmask_core.data import coco_results
from sipmask_core.data import youtube_vis_results as video_results
from sipmask_core.data.coco import CocoAnnotations, read_annotations
from sipmask_core.data.shapes import merged_rle
from sipmask_core.data.youtube_vis import read_videos
from sipmask_core.evaluation import coco, youtube_vis
from sipmask_core.evaluation.partial_results import PartialResults
from sipmask_core.evaluation.youtube_vis_tracks import count_by_class

HEIGHT, WIDTH = 12, 16
MOST_PIXELS = 1 << 20  # of masks that are decoded here

_mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
_mask[2:7, 3:9] = 1
RLE = {"size": [HEIGHT, WIDTH], "counts": coco_mask.encode(_mask)["counts"].decode()}
RUNS = {"size": [HEIGHT, WIDTH], "counts": [100, 30, 62]}
POLYGONS = [[1, 1, 9, 1.5, 9, 8], [2.0, 2, 3, 2, 3, 3, 2, 3]]
CATEGORIES = [{"id": 3, "name": "square"}, {"id": 1, "name": "bar"}]


def annotation(number, segmentation, **more):
    return {
        "id": number,
        "image_id": 1 + number % 2,
        "category_id": 3,
        "segmentation": segmentation,
        "iscrowd": 0,
        **more,
    }


COCO = {
    "info": {"description": "made up"},
    "categories": CATEGORIES,
    "images": [
        {"id": i, "file_name": f"{i}.png", "height": HEIGHT, "width": WIDTH} for i in (1, 2)
    ],
    "annotations": [
        annotation(1, POLYGONS, bbox=[1, 1, 8, 7], area=30, track_id=4),
        annotation(2, RLE),
        annotation(3, RUNS, area=30.0, iscrowd=1),
        annotation(4, POLYGONS),
    ],
}
VIDEOS = {
    "categories": CATEGORIES,
    "videos": [{"id": 1, "file_names": ["a", "b", "c"], "height": HEIGHT, "width": WIDTH}],
    "annotations": [
        {
            "id": 5,
            "video_id": 1,
            "category_id": 1,
            "iscrowd": 0,
            "segmentations": [RLE, None, POLYGONS],
            "bboxes": [[3, 2, 6, 5], None, None],
            "areas": [30, None, None],
        },
        {"id": 6, "video_id": 1, "category_id": 3, "segmentations": [RUNS, RUNS, None]},
    ],
}
COCO_RESULTS = [
    {"image_id": 1, "category_id": 3, "score": 0.5, "segmentation": RLE, "bbox": [1, 1, 4, 4]},
    {"image_id": 2, "category_id": 1, "score": 0.7, "segmentation": RUNS},
]
NAMED_RESULTS = {
    "annotations": [{**result, "image_id": result["image_id"] + 6} for result in COCO_RESULTS],
    "images": [{"id": 7, "file_name": "1.png"}, {"id": 8, "file_name": "new/2.png"}],
    "categories": CATEGORIES,
}
VIDEO_RESULTS = [
    {"video_id": 1, "category_id": 1, "score": 0.5, "segmentations": [RLE, None, RUNS]},
    {"video_id": 1, "category_id": 3, "score": 0.25, "segmentations": [None, RLE, None]},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("annotations")
    (folder / "coco.json").write_text(json.dumps(COCO))
    (folder / "videos.json").write_text(json.dumps(VIDEOS))
    return folder


def written(folder, document):
    """Write the document to a file and return its path; bytes are written as they are."""
    path = folder / "mutated.json"
    path.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
    return path


def documents(original):
    return st.one_of(mutated(original), damaged([json.dumps(original).encode()]))


def masks_of(annotations: CocoAnnotations):
    """Check that every mask can be made."""
    for image in annotations.images:
        size = image.height, image.width
        for shape in image.objects:
            rle = merged_rle(shape.segmentation, size)
            if image.height * image.width <= MOST_PIXELS:
                assert coco_mask.decode(rle).shape == size


@fuzz(share=2, document=documents(COCO))
def test_a_coco_file_is_read_and_scored_or_refused(folder, document):
    path = written(folder, document)
    with may_refuse():
        annotations = read_annotations(path, need_truth=False)
        masks_of(annotations)
        coco.score(annotations, [])


@fuzz(share=2, document=documents(VIDEOS))
def test_a_youtube_vis_file_is_read_and_scored_or_refused(folder, document):
    path = written(folder, document)
    with may_refuse():
        annotations = read_videos(path)
        masks_of(annotations.frames())
        youtube_vis.score(annotations, [])


@fuzz(document=st.one_of(documents(COCO_RESULTS), documents(NAMED_RESULTS)))
def test_coco_results_are_scored_or_refused(folder, document):
    annotations = read_annotations(folder / "coco.json")
    path = written(folder, document)
    with may_refuse():
        coco.score(annotations, coco_results.read_results(path, annotations))


@fuzz(document=documents(VIDEO_RESULTS))
def test_youtube_vis_results_are_scored_or_refused(folder, document):
    annotations = read_videos(folder / "videos.json")
    path = written(folder, document)
    with may_refuse():
        results = video_results.read_results(path, annotations)
        youtube_vis.score(annotations, results)
        count_by_class(annotations, results)


near = st.floats(-40, 80)
corners = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**70), 2**70),
    near,
    st.sampled_from([2**31 / 5, 2**31 - 1, 2**32, -(2**31), 1e18, 5e-324]),
)


@fuzz(
    polygons=st.one_of(
        st.lists(st.lists(near, min_size=6, max_size=10), min_size=1, max_size=3),
        st.lists(st.lists(corners, min_size=6, max_size=6), min_size=1, max_size=1),
    ),
    size=st.tuples(*[st.one_of(st.integers(1, 40), st.sampled_from([2**16, 2**31]))] * 2),
    bbox=st.one_of(st.none(), st.lists(corners, min_size=4, max_size=4)),
)
def test_any_polygon_gives_a_mask_or_a_refusal(folder, polygons, size, bbox):
    document = {
        **COCO,
        "images": [{"id": 1, "file_name": "1.png", "height": size[0], "width": size[1]}],
        "annotations": [{**annotation(2, polygons), "image_id": 1, "bbox": bbox}],
    }
    path = written(folder, document)
    with may_refuse():
        annotations = read_annotations(path)
        masks_of(annotations)
        coco.score(annotations, [])


@fuzz(
    content=damaged(
        [b'{"made_by": {"model": "a"}}\n[1, [2]]\n[3, null]\n', b'{"made_by": {"model": "b"}}\n']
    )
)
def test_what_an_interrupted_run_left_is_gone_on_with_or_refused(folder, content):
    results = folder / "results.json"
    (folder / "results.json.partial").write_bytes(content)
    with may_refuse(), PartialResults(results, {"model": "a"}) as partial:
        partial.add(9, [1])
        assert partial.done[9] == [1]
