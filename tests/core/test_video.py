"""Frames of every kind of source, and videos written whole or not at all."""

import os
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from sipmask_core.errors import InputError
from sipmask_core.imaging.first_look import look_at
from sipmask_core.imaging.image_files import IMAGE_SUFFIXES
from sipmask_core.video import Frames, VideoWriter, source_folder, source_sha256


def grey(value, size=(48, 64)):
    return np.full((*size, 3), value, np.uint8)


def write_video(path, count, fps=12.0):
    with VideoWriter(path, fps) as writer:
        for index in range(count):
            writer.write(grey(20 * index))


def test_an_image_file_is_one_frame(tmp_path):
    cv2.imwrite(str(tmp_path / "photo.png"), grey(77))
    frames = Frames(tmp_path / "photo.png")
    (frame,) = frames
    assert (frame.name, frame.index, frames.count, frames.fps) == ("photo.png", 0, 1, None)
    assert np.array_equal(frame.image, grey(77))
    assert not frames.is_video and frames.unreadable == []


def test_a_folder_comes_in_natural_order_without_other_files(tmp_path):
    for name in ("10.png", "9.png", "a2.png"):
        cv2.imwrite(str(tmp_path / name), grey(1))
    (tmp_path / "notes.txt").write_text("not an image")
    frames = Frames(tmp_path)
    assert frames.count == 3
    assert [frame.name for frame in frames] == ["9.png", "10.png", "a2.png"]


def test_a_corrupt_image_is_named_and_skipped(tmp_path):
    cv2.imwrite(str(tmp_path / "1.png"), grey(1))
    (tmp_path / "2.jpg").write_bytes(b"\xff\xd8 this is no picture")
    cv2.imwrite(str(tmp_path / "3.png"), grey(3))
    frames = Frames(tmp_path)
    assert [(frame.name, frame.index) for frame in frames] == [("1.png", 0), ("3.png", 2)]
    (sentence,) = frames.unreadable
    assert "2.jpg" in sentence


@pytest.mark.parametrize("name", ["x.gif", "x.jp2", "x.jfif"])
def test_a_picture_in_an_unusual_format_is_an_image(tmp_path, name):
    if Path(name).suffix not in IMAGE_SUFFIXES:
        pytest.skip(f"this OpenCV reads no {name}")
    suffix = ".jpg" if name == "x.jfif" else name[1:]
    (tmp_path / name).write_bytes(cv2.imencode(suffix, grey(77))[1].tobytes())
    frames = Frames(tmp_path / name)
    (frame,) = frames
    assert (frames.is_video, frames.left_out, frame.image.shape) == (False, "", (48, 64, 3))


@pytest.mark.skipif(not hasattr(cv2, "Animation"), reason="this OpenCV writes no animation")
def test_a_gif_that_moves_is_a_video(tmp_path):
    animation = cv2.Animation()
    animation.frames = [grey(20 * index) for index in range(3)]
    animation.durations = np.full(3, 100, np.int32)
    assert cv2.imwriteanimation(str(tmp_path / "x.gif"), animation)
    frames = Frames(tmp_path / "x.gif")
    assert frames.is_video and len(list(frames)) == 3


def pictures(path, count, **options):
    first, *others = (PIL.Image.fromarray(grey(20 * index)) for index in range(count))
    first.save(path, save_all=True, append_images=others, **options)


def test_a_png_that_moves_is_a_video(tmp_path):
    pictures(tmp_path / "x.png", 5, duration=100)
    frames = Frames(tmp_path / "x.png")
    if not frames.is_video:
        pytest.skip("this OpenCV does not count the pictures of a PNG")
    assert [frame.image[0, 0, 0] for frame in frames] == [0, 20, 40, 60, 80]


@pytest.mark.parametrize("name", ["x.webp", "x.tif"])
def test_pictures_that_are_left_out_of_a_file_are_told_of(tmp_path, name):
    pictures(tmp_path / name, 3)
    with Frames(tmp_path / name) as frames:
        shapes = [frame.image.shape for frame in frames]
        if frames.unreadable:
            pytest.skip(f"this OpenCV reads no {name} of several pictures")
        assert shapes == [(48, 64, 3)]
        assert f"{name}: all but the first of its 3 pictures" in frames.left_out
    pictures(tmp_path / name, 1)
    assert Frames(tmp_path / name).left_out == ""


def test_a_name_that_is_not_utf8_is_read_or_refused_in_a_sentence(tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    folder.mkdir()
    (folder / "1.png").write_bytes(cv2.imencode(".png", grey(77))[1].tobytes())
    (folder / "2.webp").write_bytes(cv2.imencode(".webp", grey(77))[1].tobytes())
    for source in (folder, folder / "1.png", folder / "2.webp"):
        assert {frame.image.shape for frame in Frames(source)} == {(48, 64, 3)}
    assert [look.defect for look in look_at(sorted(folder.iterdir()))] == ["", ""]
    (folder / "1.png").rename(Path(os.fsdecode(bytes(folder / "1") + b"\xff.png")))
    assert source_sha256(folder) is not None
    Path(os.fsdecode(bytes(folder / "1") + b"\xff.png")).rename(folder / "1.png")
    write_video(tmp_path / "x.mp4", 2)
    (tmp_path / "x.mp4").rename(folder / "x.mp4")
    (folder / "1.png").rename(folder / "1")
    for name in ("x.mp4", "1"):
        with pytest.raises(InputError, match=rf"\\udcff/{name} is not UTF-8.*rename"):
            Frames(folder / name)
    with pytest.raises(InputError, match="is not UTF-8"):
        VideoWriter(folder / "new.mp4", 10)


def test_a_file_url_is_that_file(tmp_path):
    cv2.imwrite(str(tmp_path / "a photo.png"), grey(77))
    write_video(tmp_path / "x.mp4", 3)
    for name, is_video, count in (("a%20photo.png", False, 1), ("x.mp4", True, 3)):
        frames = Frames(f"file://{tmp_path}/{name}")
        assert (frames.is_video, frames.is_live, frames.count) == (is_video, False, count)
        assert source_sha256(f"file://{tmp_path}/{name}") is not None
        assert source_folder(f"file://{tmp_path}/{name}") == tmp_path.resolve()
    assert source_folder(tmp_path) == source_folder(tmp_path / "x.mp4") == tmp_path.resolve()
    with pytest.raises(InputError, match=r"gone\.mp4 does not exist"):
        Frames("file:///gone.mp4")


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "/dev/video99", "0"])
def test_what_cannot_be_a_file_does_not_exist(name):
    with pytest.raises(InputError, match="does not exist; expected an image"):
        Frames(name)


def test_an_empty_folder_is_refused_with_what_it_should_hold(tmp_path):
    with pytest.raises(InputError, match=r"holds no image.*\.png"):
        Frames(tmp_path)


def test_a_missing_source_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        Frames(tmp_path / "nothing.mp4")


def test_a_file_that_is_no_video_is_refused(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"not a video at all" * 100)
    with pytest.raises(InputError, match=r"clip\.mp4 cannot be opened"):
        Frames(tmp_path / "clip.mp4")


@pytest.mark.parametrize("name", ["photo", "photo.jpg_large", "photo.1"])
def test_an_image_is_known_by_its_content_if_its_name_says_nothing(tmp_path, name):
    (tmp_path / name).write_bytes(cv2.imencode(".png", grey(77))[1].tobytes())
    frames = Frames(tmp_path / name)
    assert not frames.is_video and [frame.name for frame in frames] == [name]


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0", "is an image in HEIC, which OpenCV"),
        ("clip.mp4", b"<!DOCTYPE html><html>", r"is a web page \(HTML\)"),
        ("clip.mp4", b"", "is empty"),
        ("drive.mcap", b"\x89MCAP0\r\n\x01", "is a recording .*`sipmask evaluate bag` reads"),
        ("notes.txt", b"a line\n" * 50, "is a text"),
    ],
)
def test_files_of_other_kinds_are_named(tmp_path, name, content, what):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name} {what}"):
        Frames(tmp_path / name)


def test_a_written_video_reads_back_with_count_rate_and_pictures(tmp_path):
    write_video(tmp_path / "clip.mp4", 8)
    with Frames(tmp_path / "clip.mp4") as frames:
        assert (frames.count, frames.fps, frames.is_video) == (8, 12.0, True)
        read = list(frames)
    assert [frame.name for frame in read][:2] == ["clip.mp4:0", "clip.mp4:1"]
    for index, frame in enumerate(read):
        assert abs(float(frame.image.mean()) - 20 * index) < 4
    assert frames.unreadable == []


def test_a_video_cut_short_is_named(tmp_path):
    rng = np.random.default_rng(0)
    with VideoWriter(tmp_path / "whole.avi.mp4", 10) as writer:
        for _ in range(40):
            writer.write(rng.integers(0, 256, (96, 128, 3), np.uint8))
    # An AVI, unlike an mp4, still opens when its end is missing.
    capture = Frames(tmp_path / "whole.avi.mp4")
    fourcc = cv2.VideoWriter.fourcc(*"MJPG")
    avi = cv2.VideoWriter(str(tmp_path / "clip.avi"), fourcc, 10, (128, 96))
    for frame in capture:
        avi.write(frame.image)
    avi.release()
    content = (tmp_path / "clip.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) // 2])
    frames = Frames(tmp_path / "cut.avi")
    assert 0 < len(list(frames)) < 36
    (sentence,) = frames.unreadable
    assert "cut.avi ended after" in sentence


def test_odd_and_changing_sizes_are_written(tmp_path):
    with VideoWriter(tmp_path / "clip.mp4", 10) as writer:
        writer.write(grey(10, (31, 45)))
        writer.write(grey(10, (60, 90)))
    assert [frame.image.shape for frame in Frames(tmp_path / "clip.mp4")] == [(30, 44, 3)] * 2


def test_a_failed_recording_leaves_the_old_file_and_nothing_else(tmp_path):
    write_video(tmp_path / "clip.mp4", 3)
    before = (tmp_path / "clip.mp4").read_bytes()
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / "clip.mp4", 10) as writer:
        writer.write(grey(1))
        raise RuntimeError("the camera burns")
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]
    assert (tmp_path / "clip.mp4").read_bytes() == before


def test_a_recording_without_frames_writes_no_file(tmp_path):
    with VideoWriter(tmp_path / "clip.mp4", 10):
        pass
    assert list(tmp_path.iterdir()) == []


def test_another_ending_than_mp4_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"must end in \.mp4"):
        VideoWriter(tmp_path / "clip.avi", 10)
