"""Segment images, folders of images, videos, cameras or streams.

For each input, writes a picture or video with the masks drawn in and, with --json, the results in
COCO format. Files that cannot be read or segmented are named, skipped and counted, and the exit
status is 1; if a video fails, the frames before that are kept. Files in a folder that are neither
images nor videos are skipped and counted by their suffix.
Ctrl-C stops after the current picture and keeps what is done.

examples:
  sipmask predict photo.jpg --output seen/
  sipmask predict holiday/ street.mp4 --output seen/ --json seen/results.json
  sipmask predict holiday/ --no-overlay --json results.json --score-threshold 0.5
  sipmask predict harbour.jpg --output seen/ --tiles 3x2        small objects of a large image
  sipmask predict photo.jpg --output seen/ --preset sipmask_r50_caffe_fpn_gn_1x \\
      --checkpoint SipMask_r50.pth
"""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from sipmask_core.cli.options import (
    add_model_arguments,
    add_tiles_argument,
    load_tiled,
    model_files,
    ran_with,
)
from sipmask_core.errors import InputError, PredictionError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from tqdm import tqdm

    from sipmask_core.data.coco_results import ResultsFile
    from sipmask_core.instances import Instances
    from sipmask_core.runtime.interruption import Interruption
    from sipmask_core.segmenter import Segmenter
    from sipmask_core.video import Frame, Frames

    Draw = Callable[[Frame, Instances], None]

SUMMARY = "segment images, folders and videos"

# Any viewer opens these, in all colours; the picture of an image in another format is a PNG.
_PICTURE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `sipmask predict`."""
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="image, folder of images, video, camera (/dev/video0) or stream (rtsp://...)",
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder for the overlays")
    parser.add_argument("--no-overlay", action="store_true", help="draw nothing; needs --json")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write COCO-format results there")
    parser.add_argument(
        "--score-threshold",
        type=float,
        metavar="S",
        help="lowest score to keep, 0 to 1; by default the preset's",
    )
    add_tiles_argument(parser)
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Segment every input in turn."""
    _check_usage(args)

    from tqdm import tqdm

    from sipmask_core.data.coco_results import ResultsFile
    from sipmask_core.runtime.interruption import Interruption
    from sipmask_core.runtime.provenance import provenance

    predictor = load_tiled(args, score_threshold=args.score_threshold)
    overlays = None if args.no_overlay else _Overlays(args.output, predictor.class_names)
    with ExitStack() as stack:
        results = None
        if args.json:
            results = stack.enter_context(ResultsFile(args.json, predictor.class_names))
            record = provenance(args.command, model_files(args), predictor.device)
        interruption = stack.enter_context(Interruption())
        # An input counts as one image until it is opened.
        bar = stack.enter_context(tqdm(total=len(args.inputs), unit="image", disable=None))
        work = _Run(predictor, overlays, results, interruption, bar)
        for source in args.inputs:
            work.segment(source)
            if interruption.requested:
                break
        if results:
            record["inputs"] |= work.hashes
            results.finish(record | ran_with(predictor))
    for failure in work.failures:
        print(f"sipmask: {failure}", file=sys.stderr)
    places = (args.output if overlays and work.images else None, args.json)
    written = ", ".join(str(place) for place in places if place)
    print(
        f"{'Interrupted after' if interruption.requested else 'Segmented'} {work.images} images: "
        f"{work.instances} instances, {len(work.failures)} failures. "
        f"Written: {written or 'nothing'}"
    )
    if interruption.requested:
        return 130
    if not work.opened:
        return 2
    return 1 if work.failures else 0


class _Run:
    """Segments one input after the other, hands on what it finds and counts what came of it.

    failures: a sentence for each image or input that could not be used. opened: inputs, images and
    instances: so far. hashes: of the inputs, if there are results to give them with.
    """

    def __init__(
        self,
        predictor: Segmenter,
        overlays: _Overlays | None,
        results: ResultsFile | None,
        interruption: Interruption,
        bar: tqdm,
    ) -> None:
        self.failures: list[str] = []
        self.opened = self.images = self.instances = 0
        self.hashes: dict[str, str | None] = {}
        self._predictor = predictor
        self._overlays = overlays
        self._results = results
        self._interruption = interruption
        self._bar = bar

    def segment(self, source: str) -> None:
        """Segment an image, the images of a folder or the frames of a video, until interrupted."""
        from sipmask_core.video import Frames, source_sha256

        try:
            frames = Frames(source)
        except InputError as error:
            self.failures.append(str(error))
            return
        self.opened += 1
        if self._results:
            self.hashes[source] = source_sha256(source)
        if frames.left_out:
            self._bar.write(f"sipmask: {frames.left_out}", file=sys.stderr)
        self._bar.total += 0 if frames.count is None else frames.count - 1
        drawing: AbstractContextManager[Draw | None] = nullcontext()
        if self._overlays is not None:
            drawing = self._overlays.of(frames)
        with frames, drawing as draw:
            self._segment_all(frames, draw)
        self.failures += frames.unreadable

    def _segment_all(self, frames: Frames, draw: Draw | None) -> None:
        for frame in frames:
            try:
                instances = self._predictor(frame.image)
            except PredictionError as error:
                self.failures.append(f"{frame.name}: {error}")
                self._bar.update()
                if frames.is_video:
                    return  # its next frames are of the same size
                continue
            if self._results:
                self._results.add(frame.name, instances)
            if draw:
                draw(frame, instances)
            self.images += 1
            self.instances += len(instances)
            self._bar.update()
            if self._interruption.requested:
                return


def _check_usage(args: argparse.Namespace) -> None:
    from sipmask_core.video import source_folder

    if args.no_overlay and not args.json:
        raise InputError("--no-overlay without --json FILE would write nothing.")
    if not args.no_overlay and not args.output:
        raise InputError("--output DIR is missing: overlays need a folder (or add --no-overlay).")
    if args.output and args.output.exists() and not args.output.is_dir():
        raise InputError(f"--output {args.output} is a file; it must be a folder.")
    for source in args.inputs if args.output else ():
        if source_folder(source) == args.output.resolve():
            raise InputError(f"--output {args.output} is the folder of {source}; choose another.")


class _Overlays:
    """Saves each input's pictures under names that no other input uses."""

    def __init__(self, folder: Path, class_names: Sequence[str]) -> None:
        self._folder = folder
        self._class_names = class_names
        self._used: set[Path] = set()

    @contextmanager
    def of(self, frames: Frames) -> Iterator[Draw]:
        """Yield what draws a frame of this source and saves it as a picture or in one video."""
        from sipmask_core.drawing import draw_instances
        from sipmask_core.runtime.files import write_image
        from sipmask_core.video import FPS_WHERE_UNKNOWN, VideoWriter

        if not frames.is_video:

            def save(frame: Frame, instances: Instances) -> None:
                path = Path(frame.name)
                if path.suffix.lower() not in _PICTURE_SUFFIXES:
                    path = path.with_suffix(".png")
                path = self._unused(path)
                write_image(path, draw_instances(frame.image, instances, self._class_names))

            yield save
            return
        path = self._unused(Path(frames.name).with_suffix(".mp4"))
        with VideoWriter(path, frames.fps or FPS_WHERE_UNKNOWN) as writer:
            yield lambda frame, instances: writer.write(
                draw_instances(frame.image, instances, self._class_names)
            )

    def _unused(self, name: Path) -> Path:
        path = self._folder / name
        number = 2
        while path in self._used:
            path = self._folder / f"{name.stem}_{number}{name.suffix}"
            number += 1
        self._used.add(path)
        return path
