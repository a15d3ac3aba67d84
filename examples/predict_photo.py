"""Find what is in a photo, print it, and save a picture with the masks drawn in.

python examples/predict_photo.py photo.jpg seen.jpg
"""

import sys

import cv2
import numpy as np

import sipmask_core as sm
from sipmask_core.drawing import draw_instances


def main(photo: str, picture: str) -> None:
    """Read one file, write the other."""
    pixels = cv2.imread(photo)
    if pixels is None:
        sys.exit(f"{photo} is not a readable image.")
    image = np.asarray(pixels, np.uint8)  # (H, W, 3), BGR
    predictor = sm.Predictor.from_pretrained(score_threshold=0.3)
    instances = predictor(image)
    sizes = instances.masks.sum(axis=(1, 2))  # pixels of each mask
    for label, score, box, size in zip(
        instances.labels, instances.scores, instances.boxes, sizes, strict=True
    ):
        x0, y0, x1, y1 = box.round().astype(int)
        name = predictor.class_names[label]
        print(f"{name} {score:.2f} from ({x0}, {y0}) to ({x1}, {y1}), {size} pixels")
    cv2.imwrite(picture, draw_instances(image, instances, predictor.class_names))


if __name__ == "__main__":
    main(*sys.argv[1:])
