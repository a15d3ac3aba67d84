"""A recording whose figures are known: a change of them must be a conscious one.

    python tests/helpers/golden_bag.py             evaluate, and compare with golden_bag.json
    python tests/helpers/golden_bag.py --update    write golden_bag.json anew; commit it and say why

The bag is made from a video of 80 frames with two crossings (DAVIS 2017 "schoolgirls", in
SIPMASK_DATA_DIR): its JPEGs as compressed images at 25 Hz, and the annotated girls as an
InstanceArray topic with ids. `sipmask evaluate bag` runs on it as its users run it, with the model
that ships with the package, in fp32, on one thread of the CPU.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from places import DATA
from rosbags.rosbag2 import StoragePlugin, Writer
from scripted_node import crop
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from sipmask_core.cli.main import main as sipmask
from sipmask_core.data.coco import CocoImage
from sipmask_core.data.shapes import merged_rle
from sipmask_core.data.youtube_vis import read_videos
from sipmask_core.inference.predictor import PRETRAINED
from sipmask_core.instances import Instances
from sipmask_core.runtime.files import write_json
from sipmask_core.runtime.provenance import sha256, sha256_of_all

VIDEO = DATA / "davis_schoolgirls"
RECORD = Path(__file__).with_suffix(".json")

TOPIC, TRUTH = "/camera/image_raw/compressed", "/truth"
START = 1_700_000_000_000_000_000  # ns
PERIOD = 40_000_000
CLASSES = ("person",)  # of the annotated ones, those that the model knows

# Another processor or BLAS adds in another order, which moves a float32 network's outputs by about
# 1e-6 of their size. That changed no figure: neither did other instruction sets (SSE4, AVX2), nor
# weights that were off by 1e-6 at random. Off by 1e-4, in five drawings, no count changed and no
# other figure by more than 0.0007; one object more or less is 0.003.
TOLERANCE = 0.001
HOW_TO_UPDATE = (
    "If that is meant: `python tests/helpers/golden_bag.py --update`, commit"
    " tests/helpers/golden_bag.json and say in the commit message why the figures changed."
)


def write_bag(path: Path) -> None:
    """Write the bag, with the same messages on every machine."""
    from rclpy.serialization import serialize_message

    from sipmask_ros.bags.writer import typestore
    from sipmask_ros.conversions.images import type_name
    from sipmask_ros.conversions.instances import instances_to_message

    annotations = read_videos(VIDEO / "ytvis_schoolgirls.json").frames()
    known = annotations.class_names.index(CLASSES[0])
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections: dict[str, Any] = {}
        for index, (image, file) in enumerate(
            zip(annotations.images, annotations.files(VIDEO / "JPEGImages"), strict=True)
        ):
            stamp = START + index * PERIOD
            header = Header(stamp=Time(sec=stamp // 10**9, nanosec=stamp % 10**9))
            messages = {
                TOPIC: CompressedImage(header=header, format="jpeg", data=file.read_bytes()),
                TRUTH: instances_to_message(true(image, known), header, CLASSES, "annotated"),
            }
            for topic, message in messages.items():
                if topic not in connections:
                    name = type_name(type(message))
                    connections[topic] = writer.add_connection(topic, name, typestore=typestore())
                writer.write(connections[topic], stamp, serialize_message(message))


def true(image: CocoImage, known: int) -> Instances:
    """Return the annotated instances of an image, of the class that the model knows."""
    from pycocotools import mask as coco_mask

    size = (image.height, image.width)
    objects = [o for o in image.objects if o.label == known]
    crops = [crop(coco_mask.decode(merged_rle(o.segmentation, size)) > 0) for o in objects]
    return Instances(
        boxes=np.array(
            [(c.x, c.y, c.x + c.bitmap.shape[1], c.y + c.bitmap.shape[0]) for c in crops],
            np.float32,
        ),
        scores=np.ones(len(objects), np.float32),
        labels=np.zeros(len(objects), np.int64),
        mask_crops=crops,
        image_size=size,
        track_ids=np.array([o.track_id for o in objects], np.int64),
    )


def measure(folder: Path) -> dict[str, Any]:
    """Return the figures of this machine and what they come from; `folder` is for the bags."""
    write_bag(folder / "golden")
    command = ["evaluate", "bag", str(folder / "golden"), "--topic", TOPIC]
    command += ["--ground-truth-topic", TRUTH, "--output", str(folder / "seen")]
    status = sipmask([*command, "--device", "cpu", "--precision", "fp32", "--threads", "1"])
    if status:
        raise SystemExit(status)
    report = json.loads((folder / "seen" / "report.json").read_text())["topics"][TOPIC]
    scores = report["scores"]
    return {
        "inputs": inputs(),
        "figures": {
            "images": report["images"],
            "scored_images": scores["scored_images"],
            "rate_hz": report["rate_hz"],
            "gaps": report["gaps"]["count"],
            "instances": report["instances"]["total"],
            "most_instances": report["instances"]["max"],
            "tracks": report["tracks"]["total"],
            "confirmed_tracks": report["tracks"]["confirmed"],
            "longest_track": report["tracks"]["longest_images"],
            **{f"segm_{name}": scores["segm"][name] for name in ("AP", "AP50", "AP75", "AR100")},
            **{f"bbox_{name}": scores["bbox"][name] for name in ("AP", "AP50", "AP75", "AR100")},
            **scores["tracking"],
        },
    }


def inputs() -> dict[str, str | None]:
    """Return the SHA-256 of the weights, of the frames and of their annotations."""
    frames = sorted((VIDEO / "JPEGImages" / "schoolgirls").glob("*.jpg"))
    return {
        "weights": sha256(PRETRAINED),
        "frames": sha256_of_all(frames),
        "annotations": sha256(VIDEO / "ytvis_schoolgirls.json"),
    }


def differences(measured: dict[str, Any], recorded: dict[str, Any]) -> list[str]:
    """Return a sentence for each input that is another one and each figure that has changed."""
    sentences = [
        f"The {name} are not those of the record."
        for name in recorded["inputs"]
        if measured["inputs"].get(name) != recorded["inputs"][name]
    ]
    names = recorded["figures"].keys() | measured["figures"].keys()
    for name in sorted(names):
        was, now = (figures["figures"].get(name) for figures in (recorded, measured))
        if was is None or now is None or abs(now - was) > TOLERANCE:
            sentences.append(f"{name} was {was}, is {now}.")
    return sentences


def main(arguments: list[str] | None = None) -> int:
    """Compare with the record. Return 1 if figures have changed and it was not updated, else 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--update", action="store_true", help="write the record anew")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(Path(folder))
    recorded = json.loads(RECORD.read_text()) if RECORD.exists() else {"inputs": {}, "figures": {}}
    changes = differences(measured, recorded)
    print("\n".join([f"{len(changes)} differences from {RECORD.name}", *changes]))
    if args.update:
        write_json(RECORD, measured)
        return 0
    if changes:
        print(HOW_TO_UPDATE)
    return 1 if changes else 0


if __name__ == "__main__":
    raise SystemExit(main())
