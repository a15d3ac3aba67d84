import fcntl
import hashlib
import socket

import pytest
from drive_server import DriveServer

from sipmask_core.errors import InputError
from sipmask_core.weights import download as module
from sipmask_core.weights.download import NoFileError, download

CONTENT = b"".join(hashlib.sha256(bytes([i])).digest() for i in range(200)) * 40  # 256 kB


@pytest.fixture
def server():
    with DriveServer(CONTENT) as server:
        yield server


@pytest.fixture
def target(tmp_path):
    return tmp_path / "weights" / "file.pth"


def left(target):
    return sorted(path.name for path in target.parent.iterdir())


@pytest.mark.parametrize("behaviour", ["form", "link", "plain"])
@pytest.mark.parametrize("chunked", [False, True])
def test_the_file_arrives_whole_whatever_pages_come_before_it(server, target, behaviour, chunked):
    server.behaviour, server.chunked = behaviour, chunked
    assert download(server.url, target) == "SipMask_R18.pth"
    assert target.read_bytes() == CONTENT
    assert left(target) == ["file.pth"]


@pytest.mark.parametrize("behaviour", ["form", "link", "plain"])
def test_a_cut_download_goes_on_where_it_ended(server, target, behaviour):
    server.behaviour, server.cut_after = behaviour, [100_000, 50_000]
    for got in (100_000, 150_000):
        with pytest.raises(InputError, match=rf"cut after {got} of {len(CONTENT)} bytes; the same"):
            download(server.url, target)
        assert left(target) == ["file.pth.part", "file.pth.part.json"]
    download(server.url, target)
    assert target.read_bytes() == CONTENT
    assert server.requests[-1][1] == "bytes=150000-"
    assert left(target) == ["file.pth"]


def test_a_server_without_parts_sends_all_again(server, target):
    server.ranges, server.cut_after = False, [1000]
    with pytest.raises(InputError, match="cut after 1000"):
        download(server.url, target)
    download(server.url, target)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(("etag", "other"), [('"1"', '"2"'), ("", "")])
def test_another_file_is_not_appended_to_the_first_one_s_beginning(server, target, etag, other):
    server.etag, server.cut_after = etag, [1000]
    with pytest.raises(InputError, match="cut after 1000"):
        download(server.url, target)
    server.content, server.etag = CONTENT[::-1] + b"more", other
    download(server.url, target)
    assert target.read_bytes() == CONTENT[::-1] + b"more"


def test_a_cut_answer_without_a_length_is_no_file(server, target):
    server.behaviour, server.chunked, server.cut_after = "plain", True, [1000]
    with pytest.raises(InputError, match="was cut after 1000 bytes; the same command"):
        download(server.url, target)
    download(server.url, target)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("beginning", [b"", b"x" * 10, CONTENT + b"x"])
@pytest.mark.parametrize("note", [None, "{}", "[", '{"url": 1, "total": 2, "version": 3}'])
def test_a_beginning_of_unknown_origin_is_not_built_upon(server, target, beginning, note):
    target.parent.mkdir()
    target.with_name("file.pth.part").write_bytes(beginning)
    if note is not None:
        target.with_name("file.pth.part.json").write_text(note)
    download(server.url, target)
    assert target.read_bytes() == CONTENT


def test_what_is_longer_than_the_file_is_started_anew(server, target):
    server.cut_after = [1000]
    with pytest.raises(InputError, match="cut"):
        download(server.url, target)
    target.with_name("file.pth.part").write_bytes(CONTENT + b"x")
    download(server.url, target)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("behaviour", "complaint"),
    [
        ("quota", "gives no file: too many people have downloaded the file of late"),
        ("private", "gives no file: the file is not open to everybody any more"),
        ("other", "gives no file: the answer is a page, 'Under maintenance', and no file"),
        ("elsewhere", "gives no file: the answer is a page"),
        ("loop", "gives no file: it asks for a confirmation again and again"),
        (404, r"answers 404 \(Not Found\)\.$"),
        ((403, "quota"), r"answers 403 \(Forbidden\): too many people"),
        (429, r"answers 429 \(Too Many Requests\)"),
        (500, r"answers 500 \(Internal Server Error\)"),
    ],
)
def test_what_is_no_file_is_told_in_a_sentence(server, target, behaviour, complaint):
    server.behaviour = behaviour
    with pytest.raises(NoFileError, match=complaint) as caught:
        download(server.url, target)
    assert "\n" not in str(caught.value)
    assert not target.exists()


def test_a_page_in_the_middle_loses_nothing_of_what_is_here(server, target):
    server.cut_after = [100_000]
    with pytest.raises(InputError, match="cut"):
        download(server.url, target)
    server.behaviour = "quota"
    with pytest.raises(NoFileError):
        download(server.url, target)
    server.behaviour = "form"
    download(server.url, target)
    assert server.requests[-1][1] == "bytes=100000-" and target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/x.pth",
        "http://nowhere.invalid/x.pth",
        "ftp://127.0.0.1/x.pth",
        "file:///etc/passwd",
        "http://[::1",
        "http://",
    ],
)
def test_what_cannot_be_reached_is_told_in_a_sentence(target, url):
    with pytest.raises(NoFileError, match="cannot be reached"):
        download(url, target)


def test_a_silent_server_is_not_waited_for_without_end(server, target, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x.pth"
        with pytest.raises(NoFileError, match="cannot be reached: timed out"):
            download(url, target)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_file_without_end_is_refused(server, target, monkeypatch, chunked):
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    server.chunked = chunked
    with pytest.raises(InputError, match=r"at most 1000 are taken|More than 1000 bytes came"):
        download(server.url, target)


def test_two_processes_do_not_write_into_one_file(server, target):
    target.parent.mkdir()
    with target.with_name("file.pth.part").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="Another process is fetching"):
            download(server.url, target)


def test_a_folder_that_cannot_be_made_is_told_in_a_sentence(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="Cannot make the folder"):
        download(server.url, tmp_path / "file" / "x.pth")


def test_a_part_that_nobody_asked_for_is_no_file(server, target):
    server.unasked = 10
    with pytest.raises(NoFileError, match="answers with a part of the file, not asked for any"):
        download(server.url, target)
