"""The predictor end to end: equal to the authors' code, and right if there is no reference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import torch
from inside import up_to_candidates
from official import golden_files
from parity import measure
from places import DATA
from pycocotools import mask as coco_mask
from torchvision.ops import box_iou

import sipmask_core as sm
from sipmask_core.data.classes import COCO_CLASSES
from sipmask_core.model.presets import KeepRatio

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("file", golden_files("golden", "sipmask", "benchmark"))
def test_equals_the_authors_code(file: Path) -> None:
    """Check the public predictor's detections, with test-time resize and thresholds."""
    differences = measure(file)
    assert differences.raw <= 1e-4
    assert differences.unmatched == 0
    assert differences.box < 0.1
    assert differences.score < 1e-4
    assert differences.mask_score < 1e-4
    assert differences.mask_iou >= 0.99


@pytest.fixture(scope="module")
def seeing() -> sm.SipMask:
    """Return a small model with random weights that reports objects everywhere."""
    torch.manual_seed(0)
    preset = replace(sm.get_preset("sipmask_r18_lite"), channels=32, score_threshold=0.0)
    model = sm.build_model(preset, num_classes=3)
    torch.nn.init.zeros_(model.bbox_head.fcos_cls.bias)
    return model


def test_candidates_selected_with_the_network_give_the_same_instances(seeing: sm.SipMask) -> None:
    predictor = sm.Predictor(seeing, device="cpu", precision="fp32")
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    prepared = predictor.prepare(image)
    pixels = torch.from_numpy(prepared.pixels)[None]
    with torch.inference_mode():
        outputs = up_to_candidates(predictor)(pixels, prepared.size)
    assert outputs.candidates is not None
    # What was selected is not selected again.
    outputs = outputs._replace(class_logits=[], distances=[], centerness=[], coefficients=[])
    found = predictor.postprocess(outputs, prepared, (90, 120))
    expected = predictor(image)
    assert len(found) > 0
    assert np.array_equal(found.boxes, expected.boxes)
    assert np.array_equal(found.masks, expected.masks)


def test_a_batch_of_images_of_any_sizes_gives_what_each_gives_alone(seeing: sm.SipMask) -> None:
    predictor = sm.Predictor(seeing, device="cpu", precision="fp32")
    rng = np.random.default_rng(0)
    sizes = [(90, 120), (48, 64), (70, 30), (90, 120), (30, 70)]
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    batches = []
    forward_batch = predictor.forward_batch
    predictor.forward_batch = lambda pixels, size: (  # type: ignore[method-assign]
        batches.append(len(pixels)) or forward_batch(pixels, size)
    )
    together = predictor.predict_batch(images)
    # 90 x 120 and 48 x 64 have the same shape once they are resized.
    assert batches == [3, 1, 1]
    for image, found in zip(images, together, strict=True):
        alone = predictor(image)
        assert found.image_size == image.shape[:2]
        assert len(found) == len(alone) > 0
        assert np.abs(found.boxes - alone.boxes).max() < 0.05
        assert np.abs(found.scores - alone.scores).max() < 1e-4
        assert (found.masks == alone.masks).mean() > 0.99


def test_a_batch_of_no_images_gives_nothing(seeing: sm.SipMask) -> None:
    assert sm.Predictor(seeing, device="cpu", precision="fp32").predict_batch([]) == []


@pytest.mark.cuda
def test_a_batch_from_a_graph_gives_each_image_its_own_instances(seeing: sm.SipMask) -> None:
    predictor = sm.Predictor(seeing, device="cuda", precision="fp32")
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (90, 120, 3), dtype=np.uint8) for _ in range(3)]
    for _ in range(3):  # the first without a graph
        together = predictor.predict_batch(images)
        for image, found in zip(images, together, strict=True):
            alone = predictor(image)
            assert len(found) == len(alone) > 0
            assert np.abs(found.boxes - alone.boxes).max() < 0.5


@pytest.mark.parametrize("size", [(1, 1), (7, 900), (480, 640), (641, 333)])
def test_any_image_size_gives_boxes_and_masks_inside_the_image(
    seeing: sm.SipMask, size: tuple[int, int]
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    instances = sm.Predictor(seeing, device="cpu", precision="fp32")(image)
    height, width = size
    assert len(instances) == 100
    assert instances.masks.shape == (100, height, width)
    assert (np.diff(instances.scores) <= 0).all()
    assert (instances.boxes >= 0).all()
    assert (instances.boxes[:, [0, 2]] <= width + 1e-3).all()
    assert (instances.boxes[:, [1, 3]] <= height + 1e-3).all()


def test_the_same_image_gives_the_same_result(seeing: sm.SipMask) -> None:
    image = np.random.default_rng(1).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    predictor = sm.Predictor(seeing, device="cpu")
    first, second = predictor(image), predictor(image)
    assert np.array_equal(first.boxes, second.boxes)
    assert np.array_equal(first.masks, second.masks)


def test_pixels_are_uploaded_for_a_network_without_graphs(seeing: sm.SipMask) -> None:
    """Check it on the meta device, which, as a GPU does, refuses tensors of other devices.

    An exported network on a GPU has no graphs either.
    """
    predictor = sm.Predictor(seeing, device="cpu", precision="fp32")
    predictor.device = torch.device("meta")
    predictor.model.to("meta")
    predictor._normalise.to("meta")
    assert predictor.forward(predictor.prepare(np.zeros((64, 64, 3), np.uint8))).basis.is_meta


def test_the_given_model_is_not_changed(seeing: sm.SipMask) -> None:
    before = {key: value.clone() for key, value in seeing.state_dict().items()}
    sm.Predictor(seeing, device="cpu", precision="bf16")(np.zeros((64, 64, 3), np.uint8))
    after = seeing.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


@pytest.mark.parametrize("name", ["sipmask_r50_caffe_fpn_gn_1x", "sipmask_r50_caffe_fpn_ssd_6x"])
def test_a_threshold_that_is_asked_for_holds_for_every_score(name: str) -> None:
    torch.manual_seed(0)
    small = KeepRatio(160, 128)
    preset = replace(sm.get_preset(name), backbone="resnet18", channels=32, resize=small)
    model = sm.build_model(preset, num_classes=3)
    torch.nn.init.zeros_(model.bbox_head.fcos_cls.bias)
    torch.nn.init.constant_(model.bbox_head.fcos_reg.bias, 2)
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    loose = sm.Predictor(model, device="cpu", precision="fp32")(image)
    middle = float(np.median(loose.scores))
    strict = sm.Predictor(model, device="cpu", precision="fp32", score_threshold=middle)(image)
    assert len(strict) > 0
    assert (strict.scores >= middle).all()


@pytest.fixture(scope="module")
def following(seeing: sm.SipMask) -> sm.SipMask:
    """Return a model like `seeing`, with a track branch."""
    torch.manual_seed(0)
    model = sm.build_model(replace(seeing.preset, embedding_channels=16), num_classes=3)
    torch.nn.init.zeros_(model.bbox_head.fcos_cls.bias)
    return model


def test_the_threshold_counts_from_the_next_image_on():
    predictor = sm.Predictor.from_pretrained(device="cpu", precision="fp32", score_threshold=0.3)
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    sure = len(predictor(image))
    predictor.score_threshold = 0.0
    assert len(predictor(image)) > sure
    with pytest.raises(sm.InputError, match="between 0 and 1"):
        predictor.score_threshold = 2.0


def test_a_track_branch_gives_every_instance_an_embedding(following: sm.SipMask) -> None:
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    instances = sm.Predictor(following, device="cpu", precision="bf16")(image)
    assert instances.embeddings.shape == (100, 16)
    assert instances.embeddings.dtype == np.float32
    assert len(np.unique(instances.embeddings, axis=0)) > 1


def test_tracking_starts_afresh_with_every_video(following: sm.SipMask) -> None:
    predictor = sm.Predictor(following, device="cpu", precision="fp32")
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (90, 120, 3), dtype=np.uint8) for _ in range(3)]
    tracker = sm.Tracker("youtube-vis")
    expected = [tracker.update(predictor(frame)).track_ids.tolist() for frame in frames]
    assert expected[0] == list(range(100))
    for _ in range(2):
        assert [found.track_ids.tolist() for found in predictor.track(frames)] == expected


def test_frames_are_taken_one_at_a_time(following: sm.SipMask) -> None:
    taken = []

    def frames() -> Iterator[np.ndarray]:
        for number in range(3):
            taken.append(number)
            yield np.zeros((64, 64, 3), np.uint8)

    results = sm.Predictor(following, device="cpu").track(frames())
    assert taken == []
    next(results)
    assert taken == [0]


def test_a_model_without_track_branch_tracks_online(seeing: sm.SipMask) -> None:
    predictor = sm.Predictor(seeing, device="cpu", precision="fp32")
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    tracker = sm.Tracker("online")
    expected = [tracker.update(predictor(image)) for _ in range(3)]
    for found, wanted in zip(predictor.track([image] * 3), expected, strict=True):
        assert found.track_ids.tolist() == wanted.track_ids.tolist()
        assert found.track_states.tolist() == wanted.track_states.tolist()


def test_an_empty_scene_gives_no_instances(seeing: sm.SipMask) -> None:
    predictor = sm.Predictor(seeing, device="cpu", score_threshold=1.0)
    instances = predictor(np.zeros((48, 64, 3), np.uint8))
    assert len(instances) == 0
    assert instances.masks.shape == (0, 48, 64)
    assert instances.to_rle() == []


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        "image.jpg",
    ],
)
def test_anything_but_a_colour_image_is_refused(seeing: sm.SipMask, image: object) -> None:
    with pytest.raises(sm.InputError, match="An image must be"):
        sm.Predictor(seeing, device="cpu")(image)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"device": "tpu"}, "device is 'tpu'"),
        ({"device": "cuda:99"}, "device is 'cuda:99'"),
        ({"precision": "int8", "device": "cpu"}, "precision is 'int8'"),
        ({"precision": "fp16", "device": "cpu"}, "precision is 'fp16'"),
        ({"score_threshold": 1.5}, "score_threshold is 1.5"),
        ({"num_threads": 0}, "num_threads is 0"),
        ({"num_threads": 10**20}, "num_threads is 100000000000000000000; .* between 1 and 512"),
    ],
)
def test_options_that_cannot_be_used_are_refused(
    seeing: sm.SipMask, options: dict, sentence: str
) -> None:
    with pytest.raises(sm.InputError, match=sentence):
        sm.Predictor(seeing, **options)


def test_the_shipped_model_finds_the_astronaut() -> None:
    """Take a photograph that was not in the training data; half precision if the CPU has it."""
    data = pytest.importorskip("skimage.data")
    image = np.ascontiguousarray(data.astronaut()[..., ::-1])
    predictor = sm.Predictor.from_pretrained(device="cpu")
    instances = predictor(image)
    assert predictor.class_names == COCO_CLASSES
    assert len(instances) >= 1
    assert instances.scores[0] > 0.4 and predictor.class_names[instances.labels[0]] == "person"
    mask = instances.masks[0]
    assert mask[40:150, 170:280].mean() > 0.9  # her face and hair
    assert mask[200:500, 150:250].mean() > 0.9  # her suit
    assert mask[:330, 380:].mean() < 0.02  # the shuttle behind her
    assert mask[:150, :100].mean() < 0.15  # the flag


@pytest.mark.parametrize(
    ("device", "precision"),
    [
        ("cpu", "bf16"),
        pytest.param("cuda", "bf16", marks=pytest.mark.cuda),
        pytest.param("cuda", "fp16", marks=pytest.mark.cuda),
    ],
)
def test_half_precision_agrees_with_single(device: str, precision: str) -> None:
    """Compare both on photographs that hold people of all sizes.

    The bound on masks is on the mean: in a small mask, a few pixels at the edge are some per cent.
    """
    folder = DATA / "coco_person" / "images"
    if not folder.is_dir():
        pytest.skip(f"no {folder}; set SIPMASK_DATA_DIR")
    single = sm.Predictor.from_pretrained(device="cpu", precision="fp32", score_threshold=0.3)
    half = sm.Predictor.from_pretrained(device=device, precision=precision, score_threshold=0.2)
    box_ious: list[float] = []
    mask_ious: list[float] = []
    for file in sorted(folder.iterdir())[::20]:
        image = np.asarray(cv2.imread(str(file)))
        expected, found = single(image), half(image)
        if len(expected) == 0:
            continue
        assert len(found) > 0
        iou = box_iou(torch.from_numpy(expected.boxes), torch.from_numpy(found.boxes)).numpy()
        masks = coco_mask.iou(expected.to_rle(), found.to_rle(), [0] * len(found))
        match = iou.argmax(axis=1)
        box_ious += iou.max(axis=1).tolist()
        mask_ious += masks[np.arange(len(expected)), match].tolist()
    assert len(box_ious) >= 100
    assert np.mean(np.array(box_ious) >= 0.9) >= 0.98
    assert np.mean(mask_ious) >= 0.97
    assert np.mean(np.array(mask_ious) >= 0.97) >= 0.9


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_a_gpu_agrees_with_the_cpu(seeing: sm.SipMask, precision: str) -> None:
    image = np.random.default_rng(2).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    on_cpu = sm.Predictor(seeing, device="cpu", precision="fp32")(image)
    on_gpu = sm.Predictor(seeing, device="cuda", precision=precision)(image)
    tolerance = 1e-3 if precision == "fp32" else 2e-2
    np.testing.assert_allclose(on_gpu.scores[:20], on_cpu.scores[:20], atol=tolerance)
    again = sm.Predictor(seeing, device="cuda", precision=precision)(image)
    assert np.array_equal(on_gpu.boxes, again.boxes)
    assert np.array_equal(on_gpu.masks, again.masks)
