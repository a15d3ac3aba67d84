"""Targets and losses against the authors' code, and the cases it does not cover."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from coco_squares import AS_PUBLISHED, tiny_preset
from official import OFFICIAL, Reference, golden_files, read_reference, reference_model
from torchvision.ops import generalized_box_iou, sigmoid_focal_loss

import sipmask_core as sm
from sipmask_core.model.maskrcnn_benchmark_keys import to_benchmark_key
from sipmask_core.model.masks import mask_logits
from sipmask_core.model.presets import override
from sipmask_core.training import losses as losses_module
from sipmask_core.training.losses import (
    aligned_iou,
    focal_loss,
    giou_of_distances,
    half_size_masks,
)
from sipmask_core.training.objective import named_losses
from sipmask_core.training.targets import assign, known_places, make_points, without_crowds

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

# Relative to the largest sampled entry. The gradient of a deformable convolution jumps where a
# sampling position crosses a pixel, so rounding alone moves single entries: a little through
# feature alignment, more where the backbone is deformable, too.
TOLERANCE, TOLERANCE_DEFORMABLE = 1e-3, 5e-3


def _batch(config: str) -> tuple[torch.Tensor, list[dict[str, torch.Tensor]]]:
    batch = {k: torch.from_numpy(v) for k, v in np.load(OFFICIAL / "losses" / "batch.npz").items()}
    video = config.startswith("vis")
    labels = "gt_labels_vis" if video else "gt_labels"

    def image(name: str) -> torch.Tensor:
        return batch[name].float().permute(2, 0, 1) - batch["mean_bgr"][:, None, None]

    targets = []
    for i in range(2):
        target = {
            "boxes": batch[f"gt_bboxes_{i}"],
            "labels": batch[f"{labels}_{i}"] - 1,
            "masks": batch[f"gt_masks_{i}"],
        }
        if video:
            target["reference_image"] = image(f"ref_img_u8_{i}")
            target["reference_boxes"] = _jittered(
                batch[f"ref_bboxes_{i}"], batch[f"ref_jitter_{i}"]
            )
            target["reference_match"] = batch[f"gt_pids_{i}"]
        targets.append(target)
    return torch.stack([image(f"img_u8_{i}") for i in range(2)]), targets


def _jittered(boxes: torch.Tensor, jitter: torch.Tensor) -> torch.Tensor:
    """Return boxes moved and resized by these parts of their sides: (n, 4) x, y, width, height."""
    size = boxes[:, 2:] - boxes[:, :2]
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 + size * jitter[:, :2]
    size = size * (1 + jitter[:, 2:])
    return torch.cat((centre - size / 2, centre + size / 2), dim=1)


@pytest.mark.parametrize("file", golden_files("losses", "sipmask", "vis"))
def test_losses_and_gradients_equal_the_authors(file: Path) -> None:
    reference = read_reference(file)
    record = reference.record
    model = reference_model(record["config"], record["seed"], record["cls_bias"]).train()
    losses = named_losses(model, *_batch(record["config"]))
    assert set(losses) == set(record["losses"]) - {"match_acc"}  # a measure, not a loss
    for name, value in losses.items():
        assert value.item() == pytest.approx(record["losses"][name], rel=1e-5), name

    torch.stack(list(losses.values())).sum().backward()
    parameters = dict(model.named_parameters())
    without = [n for n, p in parameters.items() if p.requires_grad and p.grad is None]
    assert sorted(without) == sorted(record["params_without_grad"])
    tolerance = TOLERANCE_DEFORMABLE if model.preset.deformable else TOLERANCE
    _assert_gradients_equal(reference, parameters, tolerance)
    norm = torch.stack([p.grad.norm() for p in parameters.values() if p.grad is not None]).norm()
    assert norm.item() == pytest.approx(record["total_grad_norm"], rel=1e-4)


@pytest.mark.parametrize("file", golden_files("losses", "benchmark"))
def test_losses_and_gradients_equal_the_authors_maskrcnn_benchmark(file: Path) -> None:
    reference = read_reference(file)
    record = reference.record
    model = reference_model(record["config"], record["seed"], record["cls_bias"]).train()
    losses = named_losses(model, *_batch(record["config"]))
    expected = {name.replace("reg", "bbox"): value for name, value in record["losses"].items()}
    assert set(losses) == set(expected)
    for name, value in losses.items():
        assert value.item() == pytest.approx(expected[name], rel=1e-5), name

    torch.stack(list(losses.values())).sum().backward()
    parameters = {to_benchmark_key(name): p for name, p in model.named_parameters()}
    _assert_gradients_equal(reference, parameters, TOLERANCE)


def _assert_gradients_equal(
    reference: Reference, parameters: dict[str, torch.nn.Parameter], tolerance: float
) -> None:
    files, norms = reference.arrays.files, reference.record["grads"]
    sampled = [key[5:-4] for key in files if key.startswith("grad/") and key.endswith("idx")]
    assert sampled
    for name in sampled:
        gradient = parameters[name].grad
        assert gradient is not None, name
        actual, expected = reference.sampled(f"grad/{name}", gradient)
        assert np.abs(actual - expected).max() <= tolerance * np.abs(expected).max(), name
        assert gradient.norm().item() == pytest.approx(norms[name]["norm"], rel=tolerance), name


@pytest.mark.parametrize("file", golden_files("losses", "sipmask", "vis"))
def test_targets_equal_the_authors(file: Path) -> None:
    record, arrays = read_reference(file)
    images, targets = _batch(record["config"])
    height, width = images.shape[-2:]
    sizes = [torch.Size((-(-height // s), -(-width // s))) for s in (8, 16, 32, 64, 128)]
    points = make_points(sizes, images.device)
    for i, target in enumerate(targets):
        found = assign(points, target["boxes"], target["labels"], inclusive=True)
        assert np.array_equal(found.labels.numpy(), arrays[f"labels_{i}"])
        assert np.array_equal(found.objects.numpy(), arrays[f"pos_gt_inds_{i}"])
        assert len(found.positives) == record["num_pos"][i]


@pytest.fixture
def small_model() -> sm.SipMask:
    torch.manual_seed(0)
    preset = replace(sm.get_preset("sipmask_r18_lite"), channels=64)
    return sm.build_model(preset, num_classes=2).train()


def _no_objects(height: int, width: int) -> dict[str, torch.Tensor]:
    return {
        "boxes": torch.zeros(0, 4),
        "labels": torch.zeros(0, dtype=torch.long),
        "masks": torch.zeros(0, height, width, dtype=torch.uint8),
    }


def test_an_image_without_objects_trains_our_own_presets(
    small_model: sm.SipMask,
) -> None:
    losses = named_losses(small_model, torch.randn(1, 3, 160, 160), [_no_objects(160, 160)])
    assert losses["loss_cls"] > 0
    assert losses["loss_bbox"] == losses["loss_centerness"] == losses["loss_mask"] == 0
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is not None for p in small_model.parameters() if p.requires_grad)


def test_an_image_without_objects_is_refused_by_the_authors_presets() -> None:
    preset = replace(sm.get_preset("sipmask_r50_caffe_fpn_ssd_6x"), channels=32, basis_channels=32)
    model = sm.build_model(preset, num_classes=2)
    with pytest.raises(sm.InputError, match="undefined for an image without objects"):
        named_losses(model, torch.randn(1, 3, 64, 64), [_no_objects(64, 64)])


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("sub_regions", [1, 2, 3, 4, 5])
def test_a_few_steps_on_one_image_lower_every_loss(sub_regions: int) -> None:
    torch.manual_seed(0)
    preset = replace(tiny_preset(), sub_regions=sub_regions)
    model = sm.build_model(preset, num_classes=2).train()
    image = torch.randn(1, 3, 160, 160)
    masks = torch.zeros(1, 160, 160, dtype=torch.uint8)
    masks[0, 16:80, 24:56] = 1
    target = {
        "boxes": torch.tensor([[24.0, 16, 56, 80]]),
        "labels": torch.tensor([1]),
        "masks": masks,
    }
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-3)
    history = []
    for _ in range(12):
        losses = named_losses(model, image, [target])
        history.append({name: value.item() for name, value in losses.items()})
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
    for name in ("loss_cls", "loss_bbox", "loss_mask"):
        assert history[-1][name] < history[0][name], name


@pytest.fixture
def video_target() -> dict[str, torch.Tensor]:
    """Return a frame with two objects; the reference shows the second one, elsewhere."""
    masks = torch.zeros(2, 128, 128, dtype=torch.uint8)
    masks[0, 8:56, 8:56] = 1
    masks[1, 64:120, 64:120] = 1
    return {
        "boxes": torch.tensor([[8.0, 8, 56, 56], [64, 64, 120, 120]]),
        "labels": torch.tensor([0, 1]),
        "masks": masks,
        "reference_image": torch.randn(3, 128, 128),
        "reference_boxes": torch.tensor([[60.0, 60, 116, 116]]),
        "reference_match": torch.tensor([0, 1]),
    }


@pytest.fixture
def small_video_model() -> sm.SipMask:
    torch.manual_seed(0)
    preset = replace(sm.get_preset("sipmask_r18_lite"), channels=64, embedding_channels=32)
    return sm.build_model(preset, num_classes=2).train()


def test_matching_objects_between_frames_is_learnt(
    small_video_model: sm.SipMask, video_target: dict[str, torch.Tensor]
) -> None:
    model, image = small_video_model, torch.randn(1, 3, 128, 128)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-3)
    history = []
    for _ in range(8):
        loss = named_losses(model, image, [video_target])["loss_match"]
        history.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert history[-1] < history[0] / 2


def test_objects_of_other_references_are_told_apart_unless_they_are_the_same(
    small_video_model: sm.SipMask, video_target: dict[str, torch.Tensor]
) -> None:
    images = torch.randn(1, 3, 128, 128).expand(2, 3, 128, 128)

    def loss(model: sm.SipMask, **ids: torch.Tensor) -> float:
        with torch.no_grad():
            return named_losses(model, images, [{**video_target, **ids}] * 2)["loss_match"].item()

    alone = loss(small_video_model)
    ids, one = torch.tensor([7, 8]), torch.tensor([8])
    assert loss(small_video_model, ids=ids, reference_ids=torch.tensor([9])) > alone
    # The other image shows object 8 as well, and object 7 has one more that it is not.
    same = loss(small_video_model, ids=torch.tensor([8, 8]), reference_ids=one)
    assert same == pytest.approx(alone)
    published = small_video_model.with_preset(replace(small_video_model.preset, **AS_PUBLISHED))
    authors = loss(published)
    assert loss(published, ids=ids, reference_ids=torch.tensor([9])) == authors


def test_a_reference_without_objects_leaves_nothing_to_match(
    small_video_model: sm.SipMask, video_target: dict[str, torch.Tensor]
) -> None:
    nothing = {
        "reference_boxes": torch.zeros(0, 4),
        "reference_match": torch.zeros(2, dtype=torch.long),
    }
    losses = named_losses(
        small_video_model, torch.randn(1, 3, 128, 128), [{**video_target, **nothing}]
    )
    assert losses["loss_match"] == 0
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is not None for p in small_video_model.parameters() if p.requires_grad)


def test_a_video_target_without_its_reference_is_refused(
    small_video_model: sm.SipMask, video_target: dict[str, torch.Tensor]
) -> None:
    del video_target["reference_boxes"], video_target["reference_match"]
    with pytest.raises(sm.InputError, match="lack reference_boxes, reference_match"):
        named_losses(small_video_model, torch.randn(1, 3, 128, 128), [video_target])


def _one_object(mask_value: int = 1) -> tuple[torch.Tensor, list[dict[str, torch.Tensor]]]:
    masks = torch.zeros(1, 160, 160, dtype=torch.uint8)
    masks[0, 16:80, 24:56] = mask_value
    boxes, labels = torch.tensor([[24.0, 16, 56, 80]]), torch.tensor([1])
    return torch.zeros(1, 3, 160, 160), [{"boxes": boxes, "labels": labels, "masks": masks}]


def _model(**changes: object) -> sm.SipMask:
    """Return a small model that predicts boxes around every location; its weights are fixed."""
    torch.manual_seed(0)
    preset = replace(sm.get_preset("sipmask_r18_lite"), channels=64, basis_channels=32, **changes)
    return sm.build_model(preset, num_classes=2).train()


def test_the_class_loss_can_leave_the_number_of_images_out() -> None:
    image, targets = _one_object()
    points = make_points(
        [torch.Size((-(-160 // s),) * 2) for s in (8, 16, 32, 64, 128)], torch.device("cpu")
    )
    positives = len(assign(points, targets[0]["boxes"], targets[0]["labels"], False).positives)
    with_images, without = (
        named_losses(_model(images_in_class_loss=counted), image, targets)["loss_cls"]
        for counted in (True, False)
    )
    assert (without / with_images).item() == pytest.approx((positives + 1) / positives)
    nothing = named_losses(_model(images_in_class_loss=False), image, [_no_objects(160, 160)])
    assert nothing["loss_cls"].isfinite()


@pytest.mark.parametrize(("duplicate_iou", "taken"), [(1.0, "all"), (0.0, "one")])
def test_the_mask_loss_takes_near_duplicates_once(
    duplicate_iou: float, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []

    def counting(basis: torch.Tensor, coefficients: torch.Tensor, *others: object) -> object:
        counts.append(len(coefficients))
        return mask_logits(basis, coefficients, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(losses_module, "mask_logits", counting)
    losses = named_losses(_model(duplicate_iou=duplicate_iou), *_one_object())
    assert losses["loss_mask"] > 0
    assert (counts == [1]) == (taken == "one")


@pytest.mark.parametrize(("bias", "factor"), [(1.0, 0.5), (0.0, 1.0)])
def test_a_mask_loss_above_one_can_count_half(bias: float, factor: float) -> None:
    values, gradients = [], []
    for halve in (False, True):
        model = _model(halve_high_mask_loss=halve)
        torch.nn.init.constant_(model.bbox_head.sip_mask_lat.bias, 1)
        torch.nn.init.constant_(model.bbox_head.sip_cof.bias, bias)  # 32 x bias: object everywhere
        loss = named_losses(model, *_one_object(mask_value=0))["loss_mask"]
        loss.backward()
        values.append(loss.item())
        gradients.append(model.bbox_head.sip_cof.bias.grad.norm().item())
    assert (values[0] > 1) == (factor < 1)
    assert values[1] == pytest.approx(factor * values[0])
    assert gradients[1] == pytest.approx(factor * gradients[0])


def test_generalised_iou_of_boxes_around_a_location() -> None:
    a, b = torch.tensor([[2.0, 2, 2, 2]]), torch.tensor([[1.0, 1, 3, 3]])
    assert giou_of_distances(a, b).item() == pytest.approx((9 + 1) / (23 + 1) - 2 / 25)
    sides = torch.rand(2, 20, 4) * 1e4  # the 1 that is added does not count any more
    expected = generalized_box_iou(*(x * torch.tensor([-1, -1, 1, 1]) for x in sides)).diagonal()
    torch.testing.assert_close(giou_of_distances(*sides), expected, rtol=1e-4, atol=1e-4)


def test_weighting_trusts_locations_with_confident_well_placed_boxes_more() -> None:
    torch.manual_seed(0)
    preset = replace(sm.get_preset("sipmask_r18_lite"), channels=64, basis_channels=32)
    weighted = sm.build_model(preset, num_classes=1).train()
    torch.nn.init.normal_(weighted.bbox_head.fcos_cls.weight, std=0.3)  # scores differ by location
    torch.nn.init.zeros_(weighted.bbox_head.fcos_cls.bias)
    alike = sm.build_model(override(preset, ["mask_weighting=false"]), num_classes=1).train()
    alike.load_state_dict(weighted.state_dict())
    masks = torch.zeros(1, 160, 160, dtype=torch.uint8)
    masks[0, 16:80, 24:56] = 1
    target = {
        "boxes": torch.tensor([[24.0, 16, 56, 80]]),
        "labels": torch.tensor([0]),
        "masks": masks,
    }
    image = torch.randn(1, 3, 160, 160)
    losses, unweighted = (
        named_losses(weighted, image, [target]),
        named_losses(alike, image, [target]),
    )
    assert losses["loss_mask"] != unweighted["loss_mask"]
    assert all(losses[name] == unweighted[name] for name in losses if name != "loss_mask")
    # Untrained masks are all near one half, so any weights of mean one give about ln 2 per pixel.
    assert unweighted["loss_mask"].item() == pytest.approx(losses["loss_mask"].item(), rel=0.2)


def test_focal_loss_equals_torchvisions() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(50, 4) * 3, torch.randint(0, 5, (50,))
    one_hot = torch.nn.functional.one_hot(labels, 5)[:, 1:].float()
    expected = sigmoid_focal_loss(logits, one_hot, reduction="sum")
    assert focal_loss(logits, labels).item() == pytest.approx(expected.item(), rel=1e-5)


def test_what_is_not_counted_adds_nothing_to_the_focal_loss() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(50, 4), torch.randint(0, 5, (50,))
    ignoring = torch.cat((labels[:40], torch.full((10,), -1)))
    logits.requires_grad_()
    loss = focal_loss(logits, ignoring)
    loss.backward()
    assert loss.item() == pytest.approx(focal_loss(logits[:40], labels[:40]).item(), rel=1e-5)
    assert not logits.grad[40:].any() and logits.grad[:40].any()


def test_background_is_not_learnt_in_a_crowd_but_objects_are() -> None:
    points = make_points([torch.Size((4, 6))] + [torch.Size((1, 1))] * 4, torch.device("cpu"))
    labels = torch.zeros(len(points.xy), dtype=torch.long)
    labels[1] = 3
    ignore = torch.zeros(32, 40, dtype=torch.uint8)  # the image is padded to 48 pixels
    ignore[:, :16] = 1
    kept = without_crowds(labels, points, ignore)
    on_p3 = kept[:24].view(4, 6)
    assert on_p3[0].tolist() == [-1, 3, 0, 0, 0, 0]
    assert (on_p3[1:, :2] == -1).all() and (on_p3[:, 2:] == 0).all()
    assert without_crowds(labels, points, None) is labels


def test_a_crowd_lowers_no_score_around_it(small_model: sm.SipMask) -> None:
    image = torch.randn(1, 3, 128, 128)
    target = _no_objects(128, 128)
    everywhere = {**target, "ignore": torch.ones(128, 128, dtype=torch.uint8)}
    assert named_losses(small_model, image, [target])["loss_cls"] > 0
    assert named_losses(small_model, image, [everywhere])["loss_cls"] == 0


def _two_objects() -> dict[str, torch.Tensor]:
    boxes = torch.tensor([[10.0, 12, 70, 80], [60.0, 50, 150, 140]])
    masks = torch.zeros(2, 160, 160, dtype=torch.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.int().tolist(), strict=True):
        mask[y0:y1, x0:x1] = 1
    return {"boxes": boxes, "labels": torch.tensor([1, 0]), "masks": masks}


def test_an_object_without_a_mask_teaches_all_but_the_mask(small_model: sm.SipMask) -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 3, 160, 160)
    target = _two_objects()
    full = named_losses(small_model, images, [target, target])
    boxes_alone = {**target, "has_mask": torch.tensor([False, False])}
    nonsense = {**boxes_alone, "masks": 1 - target["masks"]}
    without = named_losses(small_model, images, [boxes_alone, boxes_alone])
    assert without["loss_mask"] == 0
    for name in ("loss_cls", "loss_bbox", "loss_centerness"):
        assert without[name] == full[name]
    # Beside it, an image with masks teaches as much as alone; those that are not there do nothing.
    mixed = named_losses(small_model, images, [target, nonsense])
    alone = named_losses(small_model, images[:1], [target])
    torch.testing.assert_close(mixed["loss_mask"], alone["loss_mask"])


def test_of_an_image_that_mixes_both_the_masks_that_exist_are_learnt(
    small_model: sm.SipMask,
) -> None:
    torch.manual_seed(0)
    image = torch.randn(1, 3, 160, 160)
    target = _two_objects()
    mixed = {**target, "has_mask": torch.tensor([True, False])}
    first = {name: values[:1] for name, values in target.items()}
    losses = named_losses(small_model, image, [mixed])
    torch.testing.assert_close(
        losses["loss_mask"], named_losses(small_model, image, [first])["loss_mask"]
    )
    assert losses["loss_bbox"] == named_losses(small_model, image, [target])["loss_bbox"]


def test_a_class_that_is_not_known_is_no_background() -> None:
    points = make_points([torch.Size((4, 6))] + [torch.Size((1, 1))] * 4, torch.device("cpu"))
    labels = torch.zeros(2, len(points.xy), dtype=torch.long)
    labels[0, 1] = 3
    targets = [
        {"known_classes": torch.tensor([True, False, False])},
        {"unsure_boxes": torch.tensor([[0.0, 0, 16, 32]]), "unsure_labels": torch.tensor([1])},
    ]
    known = known_places(points, targets, labels, 3)
    assert known is not None
    assert known[0, :, 0].all() and not known[0, :, 1].any()
    assert known[0, :, 2].nonzero().flatten().tolist() == [1]  # what is an object is learnt
    on_p3 = known[1, :24].view(4, 6, 3)
    assert not on_p3[:, :2, 1].any() and on_p3[:, 2:, 1].all()
    assert on_p3[..., [0, 2]].all()
    assert known_places(points, [{}, {}], labels, 3) is None


def test_unknown_classes_get_no_gradient(small_model: sm.SipMask) -> None:
    image = torch.randn(1, 3, 160, 160)
    classes = len(small_model.class_names)
    known = torch.arange(classes) < 1
    small_model.zero_grad()
    named_losses(small_model, image, [{**_no_objects(160, 160), "known_classes": known}])[
        "loss_cls"
    ].backward()
    gradient = small_model.bbox_head.fcos_cls.weight.grad
    assert gradient[0].any() and not gradient[1:].any()


def test_iou_of_pairs_of_boxes() -> None:
    a = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10]])
    b = torch.tensor([[5.0, 0, 15, 10], [20, 20, 30, 30]])
    assert aligned_iou(a, b, inclusive=False).tolist() == pytest.approx([1 / 3, 0])
    assert aligned_iou(a, b, inclusive=True)[0].item() == pytest.approx(66 / (2 * 121 - 66))


def test_half_size_masks_keep_three_of_four_pixels() -> None:
    mask = torch.tensor([[[1, 1, 1, 1], [1, 0, 0, 0]]], dtype=torch.uint8)
    assert half_size_masks(mask, torch.Size((2, 3))).tolist() == [[[1, 0, 0], [0, 0, 0]]]
