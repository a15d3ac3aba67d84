"""How good a model is on held-out images while it is trained, in figures and in pictures."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from pycocotools import mask as coco_mask
from tqdm import tqdm

from sipmask_core.data.coco import read_annotated_image
from sipmask_core.data.shapes import region
from sipmask_core.drawing import contact_sheet, draw_instances
from sipmask_core.evaluation.coco import score
from sipmask_core.evaluation.run_images import detect_in_required
from sipmask_core.inference.predictor import Predictor
from sipmask_core.instances import Instances
from sipmask_core.mask_crop import MaskCrop
from sipmask_core.runtime.distributed import from_main, gathered, is_main, own_share

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from sipmask_core.data.coco import CocoAnnotations, CocoImage
    from sipmask_core.model.sipmask import SipMask

DRAWN_IMAGES = 6
DRAWN_SCORE = 0.3


class Validation:
    """Held-out images of a COCO file, seen by `require_images`: models of its classes are tried."""

    def __init__(
        self, annotations: CocoAnnotations, image_dir: Path, device: torch.device | str
    ) -> None:
        self.annotations = annotations
        self.image_dir = image_dir
        self.device = str(device)

    def score(self, model: SipMask) -> dict[str, dict[str, float]]:
        """Return COCO's metrics, as `evaluation.coco.score` has them.

        All processes take part and get the same figures, those that one process would get.
        """
        predictor = Predictor(model, self.device)
        predictor.score_threshold = model.preset.evaluation_threshold
        images = tuple(own_share(self.annotations.images))
        share = replace(self.annotations, images=images)
        bar = tqdm(
            detect_in_required(predictor, share, self.image_dir),
            total=len(images),
            unit="image",
            disable=not is_main(),
            leave=False,
        )
        found = gathered([image.results for image in bar], len(self.annotations.images))
        return from_main(score(self.annotations, list(chain(*found))) if is_main() else {})

    def draw(self, model: SipMask) -> NDArray[np.uint8]:
        """Draw DRAWN_IMAGES images, ground truth to the left of what the model finds.

        Images with objects come first. Return one sheet, (H, W, 3) uint8 BGR, of instances that
        score DRAWN_SCORE or more.
        """
        predictor = Predictor(model, self.device, score_threshold=DRAWN_SCORE)
        cells = []
        for record in sorted(self.annotations.images, key=lambda i: not i.objects)[:DRAWN_IMAGES]:
            image = read_annotated_image(self.image_dir, record)
            for instances in (ground_truth(record), predictor(image)):
                cells.append(draw_instances(image, instances, model.class_names))
        return contact_sheet(cells, columns=4)


def ground_truth(record: CocoImage) -> Instances:
    """Return what is annotated in an image, crowds left out, with scores of 1."""
    size = record.height, record.width
    objects = [o for o in record.objects if not o.is_crowd]
    boxes = np.array([o.bbox for o in objects], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return Instances(
        boxes=boxes,
        scores=np.ones(len(objects), np.float32),
        labels=np.array([o.label for o in objects], np.int64),
        mask_crops=[
            MaskCrop(0, 0, coco_mask.decode(region(o, size)).astype(bool) & o.has_mask)
            for o in objects
        ],
        image_size=size,
    )
