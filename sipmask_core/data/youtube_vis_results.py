"""YouTube-VIS's results format: read, checked, and written in the form that the server takes."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sipmask_core.data.coco_results import Result, refuse_strangers
from sipmask_core.data.fields import as_whole_number, is_finite_number
from sipmask_core.data.json_files import MAX_UNPACKED, parse_json, read_json
from sipmask_core.data.rle import checked_rles
from sipmask_core.errors import InputError
from sipmask_core.instances import UNTRACKED
from sipmask_core.runtime.files import atomic_path, write_zip

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sipmask_core.data.youtube_vis import Video, VideoAnnotations
    from sipmask_core.instances import Instances

MEMBER = "results.json"  # of the zip


def read_results(
    path: Path, annotations: VideoAnnotations, *, subset: bool = False
) -> list[Result]:
    """Read results from a JSON file, or from results.json in a zip as the server takes it.

    subset: leave out results of videos that the annotations lack. Raises InputError naming file,
    entry and field, without `subset` also for such results, and if no result remains.
    """
    entries = _read_json(Path(path))
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{path} is not a list of results.")
    videos: dict[int | None, Video] = {video.id: video for video in annotations.videos}
    categories = set(annotations.category_ids)
    strangers = [
        i for i, entry in enumerate(entries) if as_whole_number(entry.get("video_id")) not in videos
    ]
    if strangers:
        refuse_strangers(path, entries, strangers, "video_id", subset)
    left_out = set(strangers)
    return [
        _checked_result(entry, f"{path}: result {number}", videos, categories)
        for number, entry in enumerate(entries)
        if number not in left_out
    ]


def write_results(path: Path, results: list[Result]) -> None:
    """Write results as JSON or, if the name ends in .zip, as the benchmark's server takes them.

    The same results give the same bytes. Raises InputError if the file cannot be written.
    """
    content = json.dumps(results)
    if Path(path).suffix == ".zip":
        write_zip(path, MEMBER, content)
        return
    with atomic_path(path) as temporary:
        temporary.write_text(content, encoding="utf-8")


def _read_json(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        return parse_json(_from_zip(path), path, "results")
    return read_json(path, "results")[0]


def _from_zip(path: Path) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo(MEMBER)
            if member.file_size > MAX_UNPACKED:
                raise InputError(
                    f"{path}: {MEMBER} unpacks to {member.file_size} bytes,"
                    f" at most {MAX_UNPACKED} are read."
                )
            return archive.read(member)
    except KeyError:
        raise InputError(f"{path} is a zip without a file {MEMBER} in it.") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
        raise InputError(f"{path} is a zip that cannot be unpacked: {error}.") from error


def _checked_result(
    entry: dict[str, Any], where: str, videos: dict[int | None, Video], categories: set[int]
) -> Result:
    category = as_whole_number(entry.get("category_id"))
    if category not in categories:
        given = entry.get("category_id")
        raise InputError(f"{where}.category_id is {given!r}, not in the annotations.")
    video = videos[as_whole_number(entry["video_id"])]
    confidence: Any = entry.get("score")
    if not is_finite_number(confidence):
        raise InputError(f"{where}.score is {confidence!r}, expected a finite number.")
    masks, count = entry.get("segmentations"), len(video.file_names)
    if not isinstance(masks, list) or len(masks) != count:
        given = f"has {len(masks)} entries" if isinstance(masks, list) else "is not a list"
        raise InputError(
            f"{where}.segmentations {given}, expected one for each of the {count} frames of"
            f" video {video.id}."
        )
    size = (video.height, video.width)
    places = [f"{where}.segmentations[{frame}]" for frame in range(count)]
    for mask, place in zip(masks, places, strict=True):
        if mask is not None and not isinstance(mask, dict):
            raise InputError(f"{place} is neither an RLE with 'size' and 'counts' nor null.")
    seen = [frame for frame, mask in enumerate(masks) if mask is not None]
    checked: list[dict[str, Any] | None] = [None] * count
    rles = checked_rles([(masks[frame], size, places[frame]) for frame in seen])
    for frame, rle in zip(seen, rles, strict=True):
        checked[frame] = rle
    return {
        "video_id": video.id,
        "category_id": category,
        "score": float(confidence),
        "segmentations": checked,
    }


def youtube_vis_results(
    frames: Iterable[Instances], video_id: int, category_ids: Sequence[int | None]
) -> list[Result]:
    """Turn the tracked instances of one video to YouTube-VIS results, one per track id.

    frames: the instances of every frame, in order; untracked ones are left out, and if two of a
    frame share an id, the last one counts. Label i has category id i of `category_ids`; tracks with
    None there are left out. A result has video_id, category_id (of the label that most frames give,
    the lowest on a tie), score (mean of the mask scores over the frames that show the track) and
    segmentations: per frame a compressed RLE, or None.
    """
    tracks: dict[int, dict[int, tuple[float, int, dict[str, Any]]]] = {}
    number = 0
    for frame, instances in enumerate(frames):
        number = frame + 1
        parts = zip(
            instances.track_ids.tolist(),
            instances.mask_scores.tolist(),
            instances.labels.tolist(),
            instances.to_rle(),
            strict=True,
        )
        for track_id, score, label, rle in parts:
            if track_id != UNTRACKED:
                tracks.setdefault(track_id, {})[frame] = (score, label, rle)

    results = []
    for seen in tracks.values():
        scores, labels, _ = zip(*seen.values(), strict=True)
        category_id = category_ids[int(np.bincount(labels).argmax())]
        if category_id is None:
            continue
        results.append(
            {
                "video_id": video_id,
                "category_id": category_id,
                "score": sum(scores) / len(scores),
                "segmentations": [
                    seen[frame][2] if frame in seen else None for frame in range(number)
                ],
            }
        )
    return results
