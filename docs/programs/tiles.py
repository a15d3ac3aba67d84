"""What tiles gain and cost: AP of a model with and without them, image by image in one run.

Each image goes through the model whole and then once for each kind of tiles, so that other programs
on the machine disturb all alike. Time is the median over the images, as a ratio to the whole image.

  python docs/programs/tiles.py --annotations instances.json --images photographs/ --hold-out 0.1
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from sipmask_core.data.classes import corresponding_ids
from sipmask_core.data.coco import read_annotated_image, read_annotations
from sipmask_core.data.coco_results import coco_results
from sipmask_core.evaluation.coco import score
from sipmask_core.inference.predictor import PRETRAINED, Predictor
from sipmask_core.inference.tiles import tiled

if TYPE_CHECKING:
    from sipmask_core.data.coco_results import Result

FIGURES = ("AP", "AP50", "APs", "APm", "APl")


def main() -> None:
    """Run the model over the images and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--hold-out", type=float, default=0.1)
    parser.add_argument("--most", type=int, default=150, help="images at most")
    parser.add_argument("--tiles", nargs="+", default=["2x2", "3x2"])
    parser.add_argument("--checkpoint", type=Path, default=PRETRAINED, help="the one that ships")
    args = parser.parse_args()
    annotations = read_annotations(args.annotations).split(args.hold_out)[1]
    annotations = replace(annotations, images=annotations.images[: args.most])
    predictor = Predictor.from_file(args.checkpoint, score_threshold=0.05)
    category_ids = corresponding_ids(predictor.class_names, annotations)
    kinds = {tiles or "none": tiled(predictor, tiles) for tiles in ("", *args.tiles)}
    results: dict[str, list[Result]] = {name: [] for name in kinds}
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for record in annotations.images:
        image = read_annotated_image(args.images, record)
        for name, segmenter in kinds.items():
            began = perf_counter()
            instances = segmenter(image)
            seconds[name].append(perf_counter() - began)
            results[name] += coco_results(instances, record.id, category_ids)
    objects = sum(len(record.objects) for record in annotations.images)
    print(f"{len(annotations.images)} images, {objects} objects; {predictor.model_name}")
    print(f"| tiles | time | {' | '.join(f'mask {figure}' for figure in FIGURES)} |")
    print("|---" * (2 + len(FIGURES)) + "|")
    for name, found in results.items():
        figures = score(annotations, found)["segm"]
        ratio = np.median(seconds[name]) / np.median(seconds["none"])
        shown = " | ".join(f"{figures[figure]:.3f}" for figure in FIGURES)
        print(f"| {name} | {ratio:.1f} | {shown} |")


if __name__ == "__main__":
    main()
