import dataclasses
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from official import OFFICIAL
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sipmask_core.data.shapes import Shape
from sipmask_core.data.youtube_vis import Track, Video, VideoAnnotations, read_videos
from sipmask_core.data.youtube_vis_results import read_results
from sipmask_core.evaluation.youtube_vis import METRICS, format_scores, score, track_ious

SIZE = (280, 300)  # large enough for a mask above 256 x 256 pixels
BOX, OTHER = (0, 0, 40, 40), (100, 100, 160, 160)


def rle(box):
    """Return the RLE of a rectangle x0, y0, x1, y1; None stays None."""
    if box is None:
        return None
    x0, y0, x1, y1 = box
    mask = np.zeros(SIZE, np.uint8, order="F")
    mask[y0:y1, x0:x1] = 1
    encoded = coco_mask.encode(mask)
    return {"size": list(SIZE), "counts": encoded["counts"].decode()}


def shape(box):
    if box is None:
        return None
    x0, y0, x1, y1 = box
    w, h = x1 - x0, y1 - y0
    return Shape((x0, y0, w, h), float(w * h), rle(box))


def track(number, boxes, label=0, is_crowd=False):
    return Track(number, label, is_crowd, tuple(shape(box) for box in boxes))


def truth(*videos, classes=1):
    """Return annotations whose video i + 1 has these tracks; category ids are 10, 20, ..."""
    return VideoAnnotations(
        path=Path("truth.json"),
        sha256="",
        description="",
        class_names=tuple(f"class {label}" for label in range(classes)),
        category_ids=tuple(10 * (label + 1) for label in range(classes)),
        videos=tuple(
            Video(
                id=index + 1,
                file_names=tuple(f"{index}/{f}.jpg" for f in range(frames)),
                height=SIZE[0],
                width=SIZE[1],
                tracks=tuple(tracks),
            )
            for index, (frames, tracks) in enumerate(videos)
        ),
    )


def result(boxes, confidence, video_id=1, category_id=10):
    return {
        "video_id": video_id,
        "category_id": category_id,
        "score": confidence,
        "segmentations": [rle(box) for box in boxes],
    }


def plain_figures(annotations, results):
    """Compute the definition word by word, slowly: per class, area range, threshold and video."""
    ranges = {
        "": (0, 1e10),
        "s": (0, 128**2),
        "m": (128**2, 256**2),
        "l": (256**2, 1e10),
    }
    thresholds = np.linspace(0.5, 0.95, 10)
    per_class = [
        {
            (size, limit): plain_class_figures(
                annotations, results, label, area_range, thresholds, limit
            )
            for size, area_range in ranges.items()
            for limit in (1, 10, 100)
        }
        for label in range(len(annotations.category_ids))
    ]

    def mean(size, limit, kind, at=slice(None)):
        values = [f[size, limit][kind][at] for f in per_class if f[size, limit] is not None]
        return float(np.mean(values)) if values else -1.0

    return dict(
        zip(
            METRICS,
            [
                mean("", 100, 0),
                mean("", 100, 0, 0),
                mean("", 100, 0, 5),
                *(mean(size, 100, 0) for size in "sml"),
                *(mean("", limit, 1) for limit in (1, 10, 100)),
                *(mean(size, 100, 1) for size in "sml"),
            ],
            strict=True,
        )
    )


def plain_class_figures(annotations, results, label, area_range, thresholds, limit):
    precisions, recalls = [], []
    for threshold in thresholds:
        outcomes, targets = [], 0
        for video in annotations.videos:
            tracks = [t for t in video.tracks if t.label == label]
            mine = [
                r
                for r in results
                if r["video_id"] == video.id and r["category_id"] == annotations.category_ids[label]
            ]
            mine.sort(key=lambda r: r["score"], reverse=True)
            found, count = plain_match(mine[:100], tracks, area_range, threshold)
            outcomes += found[:limit]
            targets += count
        if targets == 0:
            return None
        outcomes.sort(key=lambda outcome: outcome[0], reverse=True)
        hits, points = 0, []
        for number, (_, is_hit) in enumerate((o for o in outcomes if o[1] is not None), start=1):
            hits += is_hit
            points.append((hits / targets, hits / number))
        precisions.append(
            np.mean(
                [
                    max((p for r, p in points if r >= recall), default=0.0)
                    for recall in np.linspace(0, 1, 101)
                ]
            )
        )
        recalls.append(hits / targets)
    return np.array(precisions), np.array(recalls)


def plain_match(results, tracks, area_range, threshold):
    """Return (score, True: hit, False: false alarm, None: ignored) per result; how many to find."""
    low, high = area_range

    def outside(areas):
        areas = [area for area in areas if area]
        return not low <= (sum(areas) / len(areas) if areas else 0) <= high

    ignored = [t.is_crowd or outside([s.area for s in t.shapes if s]) for t in tracks]
    taken, outcomes = set(), []
    for entry in results:
        best = None
        for counts in (True, False):
            for index, candidate in enumerate(tracks):
                if ignored[index] is counts or (index in taken and not candidate.is_crowd):
                    continue
                iou = plain_iou(entry, candidate)
                if iou >= threshold and (best is None or iou >= best[0]):
                    best = (iou, index)
            if best:
                break
        if best:
            taken.add(best[1])
            outcomes.append((entry["score"], None if ignored[best[1]] else True))
        else:
            areas = [coco_mask.area(m) for m in entry["segmentations"] if m]
            outcomes.append((entry["score"], None if outside(areas) else False))
    return outcomes, ignored.count(False)


_PLAIN_IOUS: dict = {}


def plain_iou(entry, candidate):
    key = json.dumps([entry["segmentations"], [s and s.segmentation for s in candidate.shapes]])
    if key not in _PLAIN_IOUS:
        intersection = union = 0
        for mask, true_shape in zip(entry["segmentations"], candidate.shapes, strict=True):
            nothing = np.zeros(SIZE, bool)
            a = coco_mask.decode(mask).astype(bool) if mask else nothing
            b = coco_mask.decode(true_shape.segmentation).astype(bool) if true_shape else nothing
            intersection += int((a & b).sum())
            union += int((a | b).sum())
        _PLAIN_IOUS[key] = intersection / union if union else 0.0
    return _PLAIN_IOUS[key]


def random_case(seed, crowded=False, most_frames=3, crowds=True):
    """Return videos of rectangles on a coarse grid, so IoUs and scores tie; some are unseen."""
    rng = np.random.default_rng(seed)

    def box():
        x0, x1 = sorted(rng.choice(16, 2, replace=False) * 20)
        y0, y1 = sorted(rng.choice(15, 2, replace=False) * 20)
        return int(x0), int(y0), int(x1), int(y1)

    def moved(boxes):
        return [
            None
            if b is None or rng.random() < 0.1
            else b
            if rng.random() < 0.6
            else (b[0], b[1], min(b[2] + 20, SIZE[1]), b[3])
            for b in boxes
        ]

    videos, results = [], []
    for video_id in range(1, 4):
        frames = int(rng.integers(1, most_frames + 1))
        tracks = []
        for _ in range(rng.integers(0, 5)):
            boxes = [None if rng.random() < 0.2 else box() for _ in range(frames)]
            label, is_crowd = int(rng.integers(3)), crowds and bool(rng.random() < 0.25)
            tracks.append(track(len(tracks) + 1, boxes, label, is_crowd))
            if rng.random() < 0.3:  # the same masks once more: an exact tie
                tracks.append(track(len(tracks) + 1, boxes, label, is_crowd))
            for _ in range(rng.integers(0, 4)):
                confidence = float(rng.integers(1, 6)) / 5
                results.append(result(moved(boxes), confidence, video_id, 10 * (label + 1)))
        for _ in range(120 if crowded else 3):  # false alarms, more than are counted
            boxes = [None if rng.random() < 0.5 else box() for _ in range(frames)]
            category = 10 if crowded else 10 * int(rng.integers(1, 5))
            results.append(result(boxes, float(rng.integers(1, 6)) / 5, video_id, category))
        videos.append((frames, tracks))
    order = rng.permutation(len(results))
    return truth(*videos, classes=4), [results[i] for i in order]


def official_cases():
    return sorted((OFFICIAL / "ytvis_eval").glob("case*_expected.json"))


@pytest.mark.skipif(not official_cases(), reason=f"no reference values in {OFFICIAL}/ytvis_eval")
def test_figures_are_those_of_the_official_evaluator():
    for file in official_cases():
        case = file.name.removesuffix("_expected.json")
        annotations = read_videos(file.with_name(f"{case}_annotations.json"))
        results = read_results(file.with_name(f"{case}_results.json"), annotations)
        expected = json.loads(file.read_text())
        scores = score(annotations, results)
        assert list(scores.overall) == expected["names"]
        assert list(scores.overall.values()) == pytest.approx(expected["stats"], abs=1e-9), case
        per_class = [figures["AP"] for figures in scores.by_class.values()]
        assert per_class == pytest.approx(expected["ap_per_category"], abs=1e-9), case


@pytest.mark.parametrize("seed", range(4))
def test_videos_of_one_frame_without_crowds_score_as_photographs_do_by_pycocotools(seed):
    annotations, results = random_case(seed, most_frames=1, crowds=False)
    results = [r for r in results if r["segmentations"][0]]
    visible = [(1, [t for t in video.tracks if t.shapes[0]]) for video in annotations.videos]
    annotations = truth(*visible, classes=4)

    def photographs(entries):
        coco = COCO()
        coco.dataset = {
            "images": [
                {"id": v.id, "height": SIZE[0], "width": SIZE[1]} for v in annotations.videos
            ],
            "categories": [{"id": i, "name": str(i)} for i in annotations.category_ids],
            "annotations": [
                {
                    "id": number,
                    "image_id": video_id,
                    "category_id": category_id,
                    "segmentation": segmentation,
                    "area": float(coco_mask.area(segmentation)),
                    "iscrowd": 0,
                    "score": confidence,
                }
                for number, (video_id, category_id, segmentation, confidence) in enumerate(
                    entries, start=1
                )
            ],
        }
        coco.createIndex()
        return coco

    evaluation = COCOeval(
        photographs(
            (video.id, annotations.category_ids[t.label], t.shapes[0].segmentation, 1)
            for video in annotations.videos
            for t in video.tracks
        ),
        photographs(
            (r["video_id"], r["category_id"], r["segmentations"][0], r["score"]) for r in results
        ),
        "segm",
    )
    evaluation.params.areaRng = [[0, 1e10], [0, 128**2], [128**2, 256**2], [256**2, 1e10]]
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    figures = list(score(annotations, results).overall.values())
    assert figures == pytest.approx(list(evaluation.stats), abs=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_random_cases_agree_with_the_definition_read_word_by_word(seed):
    annotations, results = random_case(seed)
    expected = plain_figures(annotations, results)
    assert score(annotations, results).overall == pytest.approx(expected, abs=1e-12)


def edge_case(seed):
    """Return videos with IoUs on the thresholds and areas on the ends of their ranges, and results.

    Some stated areas differ from the masks'. Masks are absent, or empty, in some frames or in all;
    every score comes several times.
    """
    rng = np.random.default_rng(seed)
    twentieths = [(0, 0, 14 * k, 240) for k in range(8, 21)]  # of the last one
    corners = [(0, 0, 128, 128), (0, 0, 256, 256), (0, 0, 128, 129), (20, 20, 276, 276), BOX]

    def some(count, boxes, absent):
        return [
            None if rng.random() < absent else boxes[rng.integers(len(boxes))] for _ in range(count)
        ]

    videos, results = [], []
    for video_id in range(1, 5):
        frames = int(rng.integers(1, 4))
        tracks = []
        for _ in range(rng.integers(1, 5)):
            boxes = some(frames, twentieths[-1:] if rng.random() < 0.6 else corners, 0.3)
            of_track = track(len(tracks) + 1, boxes, int(rng.integers(2)), bool(rng.random() < 0.2))
            stated = [None, 0.0, 128.0**2, 128.0**2 + 0.5, 256.0**2, 1e10][rng.integers(6)]
            if stated is not None:
                shapes = (s and dataclasses.replace(s, area=stated) for s in of_track.shapes)
                of_track = dataclasses.replace(of_track, shapes=tuple(shapes))
            tracks.append(of_track)
        for _ in range(rng.integers(0, 13)):
            boxes = some(frames, [*twentieths, *corners, (5, 5, 5, 5)], rng.choice([0, 0.4, 1]))
            category = 10 * int(rng.integers(1, 3))
            results.append(result(boxes, float(rng.integers(1, 4)) / 4, video_id, category))
        videos.append((frames, tracks))
    return truth(*videos, classes=3), results


@pytest.mark.parametrize("seed", range(8))
def test_cases_on_every_edge_agree_with_the_definition_read_word_by_word(seed):
    annotations, results = edge_case(seed)
    expected = plain_figures(annotations, results)
    assert score(annotations, results).overall == pytest.approx(expected, abs=1e-12)


def test_results_beyond_the_hundredth_of_a_video_and_class_do_not_count():
    annotations, results = random_case(100, crowded=True)
    expected = plain_figures(annotations, results)
    assert score(annotations, results).overall == pytest.approx(expected, abs=1e-12)
    alarms = [result([OTHER], 0.9) for _ in range(100)]
    late = score(truth((1, [track(1, [BOX])])), [*alarms, result([BOX], 0.8)])
    assert late.overall["AR100"] == 0


def test_frames_where_only_one_has_a_mask_count_in_the_union():
    seen = [rle(BOX), rle(BOX), None, None]
    true = [rle(BOX), None, rle(BOX), None]
    nothing = [None] * 4
    ious = track_ious([seen, nothing], [true, nothing])
    np.testing.assert_array_equal(ious, [[1 / 3, 0], [0, 0]])
    assert track_ious([], [true]).shape == (0, 1)
    assert track_ious([seen], []).shape == (1, 0)


def test_overlap_is_summed_over_the_frames_before_it_is_divided():
    # 1600 pixels missed in one frame of 1600 and none of 3600 in the other
    iou = track_ious([[None, rle(OTHER)]], [[rle(BOX), rle(OTHER)]])
    assert iou[0, 0] == 3600 / 5200


def test_a_crowd_takes_several_results_at_its_plain_iou():
    tracks = [track(1, [BOX]), track(2, [OTHER], is_crowd=True)]
    inside = (100, 100, 160, 130)  # half of the crowd, and wholly in it: IoU 0.5, not 1
    results = [
        result([BOX], 0.5),
        result([OTHER], 0.9),
        result([OTHER], 0.8),
        result([inside], 0.7),
    ]
    figures = score(truth((1, tracks)), results).overall
    assert figures["AP50"] == pytest.approx(1)
    assert figures["AP75"] == pytest.approx(0.5)


def test_a_result_on_a_track_of_another_size_is_no_false_alarm_of_this_one():
    small, medium = track(1, [BOX]), track(2, [(100, 0, 300, 200)])
    results = [result([(100, 0, 300, 200)], 0.9), result([BOX], 0.5)]
    figures = score(truth((1, [small, medium])), results).overall
    assert (figures["APs"], figures["APm"], figures["APl"]) == pytest.approx((1, 1, -1))
    assert (figures["ARs"], figures["ARm"], figures["ARl"]) == (1, 1, -1)


def test_a_track_has_the_mean_area_of_the_frames_that_show_it():
    # 20000 pixels in two of four frames are medium; 10000, the mean over all four, would be small.
    box = (0, 0, 160, 125)
    figures = score(truth((4, [track(1, [box, box, None, None])])), []).overall
    assert (figures["APs"], figures["APm"]) == (-1, 0)


def test_both_ends_of_an_area_range_belong_to_it():
    figures = score(truth((1, [track(1, [(0, 0, 128, 128)])])), []).overall
    assert (figures["APs"], figures["APm"], figures["APl"]) == (0, 0, -1)


LEFT, RIGHT, BOTH = (0, 0, 30, 40), (10, 0, 40, 40), (0, 0, 40, 40)


@pytest.mark.parametrize(
    ("boxes", "recall"),
    [
        # BOTH takes RIGHT up to .75, LEFT finds itself always
        ((LEFT, RIGHT), (6 * 1 + 4 * 0.5) / 10),
        # BOTH takes LEFT up to .75, which leaves RIGHT, of IoU .5, to the other
        ((RIGHT, LEFT), (1 * 1 + 9 * 0.5) / 10),
    ],
)
def test_of_tracks_with_equal_iou_the_later_one_is_taken(boxes, recall):
    tracks = [track(number, [box]) for number, box in enumerate(boxes, start=1)]
    figures = score(truth((1, tracks)), [result([BOTH], 0.9), result([LEFT], 0.8)]).overall
    assert figures["AR100"] == pytest.approx(recall)


def test_without_results_the_figures_are_zero_and_without_ground_truth_minus_one():
    nothing_found = score(truth((1, [track(1, [BOX])])), []).overall
    assert {name: nothing_found[name] for name in ("AP", "APs", "AR1")} == {
        "AP": 0,
        "APs": 0,
        "AR1": 0,
    }
    nothing_there = score(truth((1, [])), [result([BOX], 0.9)])
    assert set(nothing_there.overall.values()) == {-1}
    assert set(nothing_there.by_class["class 0"].values()) == {-1}


def test_classes_without_ground_truth_are_left_out_of_the_mean():
    annotations = truth((1, [track(1, [BOX])]), classes=2)
    scores = score(annotations, [result([BOX], 0.9), result([BOX], 0.9, category_id=20)])
    assert scores.overall["AP"] == pytest.approx(1)
    assert [figures["AP"] for figures in scores.by_class.values()] == pytest.approx([1, -1])


def test_a_result_finds_nothing_in_another_video_or_class():
    annotations = truth((1, [track(1, [BOX])]), (1, [track(2, [OTHER], label=1)]), classes=2)
    results = [result([BOX], 0.9, video_id=2), result([BOX], 0.9, category_id=20)]
    assert score(annotations, results).overall["AR100"] == 0


def test_ties_between_videos_are_broken_by_video_id_and_then_by_place():
    # The false alarm of video 1 ranks before the hit of video 2, although it comes later.
    annotations = truth((1, []), (1, [track(1, [BOX])]))
    results = [result([BOX], 0.9, video_id=2), result([BOX], 0.9, video_id=1)]
    assert score(annotations, results).overall["AP"] == pytest.approx(0.5)


def test_the_order_of_results_with_different_scores_does_not_matter():
    annotations, results = random_case(3)
    results = [{**r, "score": (i + 1) / (len(results) + 1)} for i, r in enumerate(results)]
    assert score(annotations, results) == score(annotations, results[::-1])


def test_the_table_has_a_row_for_all_and_one_per_class_with_ground_truth():
    annotations, results = random_case(1)
    lines = format_scores(score(annotations, results)).splitlines()
    assert lines[0].split() == list(METRICS)
    labels = {track.label for video in annotations.videos for track in video.tracks}
    assert labels == {0, 1, 2} and len(annotations.class_names) == 4
    assert [line.split("  ")[0] for line in lines[1:]] == ["all", "class 0", "class 1", "class 2"]
    assert all(len(a) == len(b) for a, b in pairwise(lines))


def test_a_track_that_is_seen_in_more_than_255_frames_is_scored():
    boxes = [BOX] * 300
    scores = score(truth((300, [track(1, boxes)])), [result(boxes, 0.9)])
    assert scores.overall["AP"] == pytest.approx(1.0)
