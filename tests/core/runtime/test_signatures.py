"""What files are that were given in place of others."""

import bz2
import gzip
import io
import lzma
import tarfile

import numpy as np
import pytest

from sipmask_core.runtime.signatures import other_kind


def in_memory(write):
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


def tar(stream):
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("x"))


FILES = {
    "empty": (b"", "empty: copy or download it again"),
    "page": (b"\xef\xbb\xbf\n <!DOCTYPE HTML>", "a web page (HTML): download"),
    "page in capitals": (b"<HTML><BODY>", "a web page (HTML): download"),
    "XML": (b"<?xml version='1.0'?><Error/>", "XML"),
    "drawing": (b"<svg xmlns=''/>", "a drawing (SVG)"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\r\n", "a Git LFS pointer"),
    "gzip": (gzip.compress(b"x"), "a gzip archive: unpack it"),
    "bzip2": (bz2.compress(b"x"), "a bzip2 archive"),
    "xz": (lzma.compress(b"x"), "an xz archive"),
    "tar": (in_memory(tar), "a tar archive"),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0", "an image in HEIC"),
    "video": (b"\0\0\0\x20ftypisom\0\0\2\0", "a video"),
    "PDF": (b"%PDF-1.7", "a PDF document"),
    "NumPy": (in_memory(lambda stream: np.save(stream, np.zeros(2))), "a NumPy array"),
}


@pytest.mark.parametrize(("content", "what"), FILES.values(), ids=FILES.keys())
def test_files_are_told_by_their_first_bytes(content, what):
    assert other_kind(content).startswith(what)


@pytest.mark.parametrize(
    "content", [b'{"images": []}', b"\xff\xd8\xff", b"\x89PNG\r\n", b"hello", b"\0\0\0\x20ftypavif"]
)
def test_what_is_not_known_is_not_guessed(content):
    assert other_kind(content) == ""
