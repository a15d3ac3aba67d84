"""Follow the objects in a video, folder of frames, camera or stream, with ids that stay.

Writes into the output folder a video, in which each id keeps its colour and draws a trail, and a
plot of when each track was seen. Ctrl-C stops after the current frame and keeps what is done; so
does a frame for which memory runs out, with exit status 1.

--save-results writes one entry per track, with a mask or null for each frame that could be read, in
the form that YouTube-VIS's server takes. --coco writes one entry per object and frame, with
track_id, in a file that pycocotools opens; image ids are frame numbers from 0.

examples:
  sipmask track street.mp4 --output tracked/
  sipmask track frames/ --fps 30 --output tracked/ --save-results tracked/results.json
  sipmask track street.mp4 --output tracked/ --coco tracked/instances.json
  sipmask track /dev/video0 --output tracked/ --json tracked/report.json --lost-seconds 3
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from sipmask_core.cli.options import (
    add_model_arguments,
    add_setting,
    add_tiles_argument,
    load_tiled,
    model_files,
    ran_with,
)
from sipmask_core.errors import InputError, PredictionError
from sipmask_core.tracking.settings import TrackerSettings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from typing import Any

    from sipmask_core.instances import Instances
    from sipmask_core.runtime.interruption import Interruption
    from sipmask_core.segmenter import Segmenter
    from sipmask_core.tracking.tracker import Tracker
    from sipmask_core.video import Frame, Frames

SUMMARY = "follow the objects in a video"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `sipmask track`."""
    add = parser.add_argument
    add("input", metavar="INPUT", help="video, folder of frames, camera (/dev/video0) or stream")
    add("--output", type=Path, metavar="DIR", required=True, help="folder for video and plot")
    add(
        "--save-results",
        type=Path,
        metavar="FILE",
        help="write the tracks in YouTube-VIS's results format there (.json or .zip)",
    )
    add(
        "--coco",
        type=Path,
        metavar="FILE",
        help="write each frame's objects in COCO's format there, with track ids",
    )
    add("--json", type=Path, metavar="FILE", help="write the report there")
    add(
        "--fps",
        type=float,
        metavar="F",
        help="frames per second, if the input does not say; 30 otherwise",
    )
    add(
        "--score-threshold",
        type=float,
        metavar="S",
        help="lowest score of an object to follow; by default the preset's",
    )
    add(
        "--mode",
        choices=("online", "youtube-vis"),
        default="online",
        help="online (default), or the authors' association for presets with a track branch",
    )
    add_setting(parser, TrackerSettings, "max_lost_seconds", float, "--lost-seconds", "T")
    parser.set_defaults(max_lost_seconds=None)  # the other mode has no such setting
    add_tiles_argument(parser)
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Track one input to its end."""
    _check_usage(args)

    from sipmask_core.runtime.files import require_writable
    from sipmask_core.runtime.interruption import Interruption
    from sipmask_core.runtime.provenance import provenance
    from sipmask_core.tracking.tracker import Tracker
    from sipmask_core.video import Frames, source_sha256

    settings = None
    if args.max_lost_seconds is not None:
        settings = TrackerSettings(max_lost_seconds=args.max_lost_seconds)
    tracker = Tracker(args.mode, settings)
    files = [path for path in (args.save_results, args.coco, args.json) if path]
    for path in files:
        require_writable(path)
    predictor = load_tiled(args, score_threshold=args.score_threshold)
    with ExitStack() as stack:
        frames = stack.enter_context(Frames(args.input))
        if frames.left_out:
            print(f"sipmask: {frames.left_out}", file=sys.stderr)
        interruption = stack.enter_context(Interruption())
        film = _Film(stack, args, frames, predictor.class_names)
        failures = _follow(frames, predictor, tracker, film, interruption)
        origin = provenance(args.command, model_files(args), predictor.device)
        origin["inputs"][args.input] = source_sha256(args.input)
        film.finish(origin)
    timeline = args.output / f"{film.name}_timeline.png"
    film.history.draw_timeline(timeline, predictor.class_names)
    _write_tracks(args, film, predictor, origin)
    failures += frames.unreadable
    for failure in failures:
        print(f"sipmask: {failure}", file=sys.stderr)
    written = [film.path, timeline, *files]
    print(
        f"{'Interrupted after' if interruption.requested else 'Tracked'}"
        f" {film.history.frame_count} frames: {len(film.history)} tracks, {len(failures)} failures."
        f" Written: {', '.join(map(str, written))}"
    )
    if interruption.requested:
        return 130
    return 1 if failures else 0


class _Film:
    """What is made of each frame: one of the video, entries of the history and of --coco.

    stack: closes the files. name: that all files in the folder begin with. path: of the video.
    """

    def __init__(
        self,
        stack: ExitStack,
        args: argparse.Namespace,
        frames: Frames,
        class_names: Sequence[str],
    ) -> None:
        from sipmask_core.data.coco_results import ResultsFile
        from sipmask_core.tracking.history import TrackHistory
        from sipmask_core.video import FPS_WHERE_UNKNOWN, VideoWriter

        self.fps = args.fps or frames.fps or FPS_WHERE_UNKNOWN
        self.name = Path(frames.name).stem or "tracks"
        self._video = stack.enter_context(VideoWriter(args.output / f"{self.name}.mp4", self.fps))
        self.path = self._video.path
        self.history = TrackHistory(self.fps, keep_masks=args.save_results is not None)
        self._coco = None
        if args.coco:
            self._coco = stack.enter_context(ResultsFile(args.coco, class_names))
        self._class_names = class_names

    def add(self, frame: Frame, instances: Instances) -> None:
        """Take in a frame and the tracked instances in it."""
        from sipmask_core.drawing import GREY, draw_instances

        self.history.add(instances)
        if self._coco:
            self._coco.add(frame.name, instances, image_id=frame.index)
        # An instance without a track is grey: a colour would look like another's track.
        picture = draw_instances(frame.image, instances, self._class_names, untracked=GREY)
        self.history.draw_trails(picture)
        self._video.write(picture)

    def finish(self, origin: dict[str, Any]) -> None:
        """Complete the file of --coco, with the record of where it comes from."""
        if self._coco:
            self._coco.finish(origin)


def _follow(
    frames: Frames,
    predictor: Segmenter,
    tracker: Tracker,
    film: _Film,
    interruption: Interruption,
) -> list[str]:
    """Track frame after frame until the end, an interruption or a failure; return the failures."""
    from tqdm import tqdm

    with tqdm(total=frames.count, unit="frame", disable=None) as bar:
        for frame in frames:
            # A camera does not wait for the model, whatever rate it says.
            seconds = monotonic() if frames.is_live else frame.index / film.fps
            try:
                instances = tracker.update(predictor(frame.image), seconds)
            except PredictionError as error:
                return [f"{frame.name}: {error}"]
            film.add(frame, instances)
            bar.update()
            if interruption.requested:
                break
    return []


def _write_tracks(
    args: argparse.Namespace, film: _Film, predictor: Segmenter, origin: dict[str, Any]
) -> None:
    """Write the files of --save-results and --json."""
    from sipmask_core.data.youtube_vis_results import write_results
    from sipmask_core.runtime.files import write_json

    history, class_names = film.history, predictor.class_names
    if args.save_results:
        write_results(args.save_results, history.youtube_vis_results(class_names))
    if args.json:
        record = {
            "frames": history.frame_count,
            "fps": film.fps,
            "instances": history.instance_count,
            "tracks": history.tracks(class_names),
            **ran_with(predictor),
            "mode": args.mode,
            "provenance": origin,
        }
        write_json(args.json, record)


def _check_usage(args: argparse.Namespace) -> None:
    from sipmask_core.video import source_folder

    if args.output.exists() and not args.output.is_dir():
        raise InputError(f"--output {args.output} is a file; it must be a folder.")
    if source_folder(args.input) == args.output.resolve():
        raise InputError(f"--output {args.output} is the folder of {args.input}; choose another.")
    if args.fps is not None and not 0 < args.fps <= 1000:
        raise InputError(f"--fps is {args.fps}; it must be above 0 and at most 1000.")
    if args.mode != "online" and args.max_lost_seconds is not None:
        raise InputError("--lost-seconds is of the online mode; youtube-vis never forgets.")
