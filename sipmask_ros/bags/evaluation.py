"""Model and tracker over a recorded bag, as fast as they go: a new bag and a report come out."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from tqdm import tqdm

from sipmask_core.errors import InputError, PredictionError, WriteError
from sipmask_core.runtime.interruption import Interruption
from sipmask_core.runtime.stopwatch import Stopwatch
from sipmask_core.tracking.online import OnlineTracker
from sipmask_ros.bags.foreign import advice
from sipmask_ros.bags.reader import Bag, deserialized
from sipmask_ros.bags.report import TopicAccount, format_account
from sipmask_ros.bags.truth import GroundTruth, Scorer, read_arrays, read_truth, recorded_truth
from sipmask_ros.bags.writer import BagWriter
from sipmask_ros.conversions.bit_depth import BitDepth
from sipmask_ros.conversions.headers import stamp_nanoseconds
from sipmask_ros.conversions.instances import message_to_instances
from sipmask_ros.node.parameters import Parameters
from sipmask_ros.perception import Perception

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sipmask_core.instances import Instances
    from sipmask_core.segmenter import Segmenter
    from sipmask_ros.bags.salvage import Message

IMAGE_TYPES = {
    "sensor_msgs/msg/Image": Image,
    "sensor_msgs/msg/CompressedImage": CompressedImage,
}


@dataclass(frozen=True)
class Task:
    """What to do with a recording; the lists go with `topics`, entry by entry.

    topics: of images; empty if the bag has only one.
    output: folder for the new bag, report.json and the plots.
    overlay: also write the images with the instances drawn in.
    truth_files, truth_topics: ground truth, see the module `truth`; one of the two at most.
    results, results_topics: a bag whose InstanceArrays are looked at in place of a model's.
    """

    recording: Path
    output: Path
    topics: tuple[str, ...] = ()
    overlay: bool = False
    mask_encoding: str = "mono8"
    truth_files: tuple[Path, ...] = ()
    truth_topics: tuple[str, ...] = ()
    results: Path | None = None
    results_topics: tuple[str, ...] = ()

    @property
    def bag(self) -> Path:
        """Where the new bag is written."""
        return self.output / "bag"

    @property
    def report(self) -> Path:
        """Where the report is written."""
        return self.output / "report.json"


def evaluate(task: Task, predictor: Segmenter | None) -> tuple[dict[str, Any], list[str]]:
    """Go through a recording. Return the report and a sentence for each thing that went wrong.

    predictor: the model; None if the task names results.

    With a model, a new bag has, for each image topic, the InstanceArrays on <topic>/instances, made
    as `segmentation_node` makes them and recorded at the time of their image, and, if the task says
    so, pictures on <topic>/overlay. Ctrl-C ends the work after an image and keeps what is done.
    Raise InputError if the task cannot be done.
    """
    bag = Bag(task.recording)
    topics = image_topics(bag, task.topics)
    if predictor is not None:
        writer = BagWriter(task.bag)
        run: _Run = _ModelRun(bag, topics, task, predictor, writer)
        with writer:
            run.go()
    else:
        run = _ResultsRun(bag, topics, task)
        run.go()
    failures = [*map(str, bag.damage), *run.failures()]
    images = sum(account.received for account in run.accounts.values())
    report = {
        "protocol": "bag",
        "recording": str(task.recording),
        "interrupted": run.interrupted,
        "damage": [{**asdict(d), "file": str(d.file)} for d in bag.damage],
        "lost_messages": run.lost_messages(),
        "images": images,
        "seconds": run.seconds,
        "images_per_second": images / max(run.seconds, 1e-9),
        "topics": run.figures(),
    }
    return report, failures


def format_report(report: dict[str, Any]) -> str:
    """Return the report in a few lines."""
    head = (
        f"{report['images']} images in {report['seconds']:.1f} s"
        f" ({report['images_per_second']:.1f} images/s)"
    )
    return "\n".join([head, *(format_account(*item) for item in report["topics"].items())])


def image_topics(bag: Bag, wanted: Sequence[str]) -> list[str]:
    """Return the topics to look at: those wanted, or else the only one with images.

    Raise InputError if one does not carry images or is named twice, or if there is none to look at
    or no telling which.
    """
    known = sorted(topic for topic, kind in bag.topics.items() if kind in IMAGE_TYPES)
    if not known:
        found = ", ".join(f"{topic} ({kind})" for topic, kind in sorted(bag.topics.items()))
        sentences = [
            f"{bag.path} has no images; its topics are {found or 'none'}.",
            advice(bag.topics, bag.encodings),
            *map(str, bag.damage),
        ]
        raise InputError(" ".join(filter(None, sentences)))
    for topic in wanted:
        if topic not in known:
            kind = bag.topics.get(topic)
            state = "is not in" if kind is None else f"carries {kind} in"
            raise InputError(f"{topic} {state} {bag.path}; images are on {', '.join(known)}.")
    if len(set(wanted)) < len(wanted):
        raise InputError(f"`topics` names {', '.join(wanted)}; each topic is accepted once.")
    if not wanted and len(known) > 1:
        raise InputError(f"{bag.path} has images on {', '.join(known)}; choose with `topics`.")
    return list(wanted) or known


class _Run:
    """One way through a bag; the kinds differ in where the instances of an image come from."""

    def __init__(self, bag: Bag, topics: list[str], task: Task, class_names: Sequence[str]) -> None:
        self.interrupted = False
        self.seconds = 0.0
        self.accounts = {
            topic: TopicAccount(topic, bag.topics[topic], class_names) for topic in topics
        }
        self._bag = bag
        self._task = task
        truths = _truths(task, bag, topics)
        self._scorers = {topic: Scorer(truth, class_names) for topic, truth in truths.items()}

    def go(self) -> None:
        """Look at every image."""
        began = time.perf_counter()
        total = sum(self._bag.promised.get(topic, 0) for topic in self.accounts) or None
        with Interruption() as interruption, tqdm(total=total, unit="image", disable=None) as bar:
            for message in self._bag.messages(self.accounts):
                self._take(message)
                bar.update()
                if interruption.requested:
                    self.interrupted = True
                    break
        self.seconds = time.perf_counter() - began

    def _take(self, recorded: Message) -> None:
        topic = recorded.topic
        account = self.accounts[topic]
        number = account.received
        stamp = None
        try:
            image = deserialized(recorded, IMAGE_TYPES[recorded.type])
            stamp = stamp_nanoseconds(image.header)
            seen = self._look_at(recorded, image)
        except WriteError:
            raise  # the next image would have no room either
        except (InputError, PredictionError) as error:
            account.receive(recorded.time, stamp)
            account.left_out.note(number, error)
            return
        account.receive(recorded.time, stamp)
        if seen is not None:
            account.add(*seen)
        else:
            account.missing_results += 1
        if topic in self._scorers:
            self._scorers[topic].add(number, stamp, seen[0] if seen is not None else None)

    def _look_at(self, recorded: Message, image: Any) -> tuple[Instances, dict[str, float]] | None:
        """Return the instances in an image and what each stage took; None if there is no result."""
        raise NotImplementedError

    def lost_messages(self) -> dict[str, int]:
        """Return, per topic, how many messages the bag tells of that were not found in it.

        There are none after an interruption.
        """
        if self.interrupted:
            return {}
        lost = {
            topic: self._bag.promised.get(topic, 0) - account.received
            for topic, account in self.accounts.items()
        }
        return {topic: count for topic, count in lost.items() if count > 0}

    def failures(self) -> list[str]:
        """Return a sentence for each thing that went wrong; if they are many, one for the rest."""
        sentences = [
            f"{count} of {self._bag.promised[topic]} images of {topic} are lost."
            for topic, count in self.lost_messages().items()
        ]
        for topic, account in self.accounts.items():
            sentences += account.left_out.sentences()
            if not account.received:
                sentences.append(f"No image of {topic} was found.")
        return sentences

    def figures(self) -> dict[str, Any]:
        """Return what is reported of each topic; draw the plots on the way."""
        figures = {}
        for topic, account in self.accounts.items():
            figures[topic] = account.figures()
            if topic in self._scorers:
                figures[topic]["scores"] = self._scorers[topic].scores()
            name = topic.strip("/").replace("/", "_")
            account.draw(self._task.output / f"{name}.png")
        return figures


class _ModelRun(_Run):
    """The model sees the images; what it finds goes into a new bag."""

    def __init__(
        self, bag: Bag, topics: list[str], task: Task, predictor: Segmenter, writer: BagWriter
    ) -> None:
        super().__init__(bag, topics, task, predictor.class_names)
        self._writer = writer
        # The first image takes longest: let it be none of the recording's.
        predictor(np.zeros((480, 640, 3), np.uint8))
        self._perceive = Perception(predictor, task.mask_encoding)
        # One for each camera, set as the node's is by default.
        settings = Parameters().tracker_settings()
        self._trackers = {topic: OnlineTracker(settings) for topic in topics}
        self._bit_depths = {topic: BitDepth() for topic in topics}

    def _look_at(self, recorded: Message, image: Any) -> tuple[Instances, dict[str, float]]:
        topic, perceive = recorded.topic, self._perceive
        with Stopwatch().listening(perceive.predictor.device) as stopwatch:
            [percept] = perceive([image], [self._trackers[topic]], [self._bit_depths[topic]])
            message = perceive.to_message(percept)
        self._writer.write(f"{topic}/instances", recorded.time, message)
        if self._task.overlay:
            self._writer.write(f"{topic}/overlay", recorded.time, perceive.to_overlay(percept))
        return percept.instances, stopwatch.seconds


class _ResultsRun(_Run):
    """Recorded InstanceArrays are looked at; their headers' stamps say of which image each is.

    Memory holds the arrays of all topics.
    """

    def __init__(self, bag: Bag, topics: list[str], task: Task) -> None:
        assert task.results is not None
        results = Bag(task.results)
        chosen = task.results_topics or _default_results(results, topics, task)
        _require_as_many("results_topics", chosen, topics)
        names: dict[int, str] = {}
        self._arrays: dict[str, dict[int, Any]] = {}
        for topic, results_topic in zip(topics, chosen, strict=True):
            self._arrays[topic] = {}
            for array in read_arrays(results, results_topic):
                self._arrays[topic][stamp_nanoseconds(array.header)] = array
                names |= {i.class_id: i.class_name for i in array.instances}
        self._damage = [str(damage) for damage in results.damage]
        class_names = [names.get(label, "") for label in range(max(names, default=-1) + 1)]
        super().__init__(bag, topics, task, class_names)

    def _look_at(self, recorded: Message, image: Any) -> tuple[Instances, dict[str, float]] | None:
        array = self._arrays[recorded.topic].get(stamp_nanoseconds(image.header))
        return None if array is None else (message_to_instances(array), {})

    def failures(self) -> list[str]:
        return [*self._damage, *super().failures()]


def _truths(task: Task, bag: Bag, topics: list[str]) -> dict[str, GroundTruth]:
    """Return ground truth by image topic."""
    if task.truth_files:
        _require_as_many("truth_files", task.truth_files, topics)
        return dict(zip(topics, map(read_truth, task.truth_files, topics), strict=True))
    if task.truth_topics:
        _require_as_many("truth_topics", task.truth_topics, topics)
        truths = (recorded_truth(bag, topic) for topic in task.truth_topics)
        return dict(zip(topics, truths, strict=True))
    return {}


def _default_results(results: Bag, topics: list[str], task: Task) -> tuple[str, ...]:
    """Return the topics that `evaluate` writes, else the only one with InstanceArrays but no truth.

    Raise InputError if there are several of these, or none.
    """
    own = tuple(f"{topic}/instances" for topic in topics)
    if all(topic in results.topics for topic in own):
        return own
    known = [
        topic
        for topic, kind in results.topics.items()
        if kind == "sipmask_ros/msg/InstanceArray" and topic not in task.truth_topics
    ]
    if len(known) != 1:
        raise InputError(
            f"{results.path} has InstanceArrays on {', '.join(known) or 'no topic'};"
            " choose with `results_topics`."
        )
    return tuple(known)


def _require_as_many(argument: str, given: Sequence[Any], topics: list[str]) -> None:
    if len(given) != len(topics):
        raise InputError(
            f"`{argument}` names {len(given)}; one for each of {', '.join(topics)} is accepted, in"
            " that order."
        )
