"""JSON files, plain or compressed by gzip; what is no JSON at all is told by its first bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from pathlib import Path
from typing import Any

from sipmask_core.errors import InputError
from sipmask_core.runtime.signatures import HEAD_BYTES, other_kind

MAX_UNPACKED = 4 << 30  # bytes: a small archive may hold anything

_GZIP = b"\x1f\x8b"


def read_json(path: Path | str, what: str) -> tuple[Any, str]:
    """Read a JSON file, plain or compressed by gzip; return its content and SHA-256 of its bytes.

    what: names the file in messages, in the plural: "annotations". Raises InputError if the file
    cannot be read, unpacks to more than MAX_UNPACKED bytes or is not JSON.
    """
    try:
        stored = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"Cannot read {what} {path}: {error.strerror}.") from error
    content = _unpacked(stored, path) if stored.startswith(_GZIP) else stored
    return parse_json(content, path, what), hashlib.sha256(stored).hexdigest()


def parse_json(content: bytes, path: Path | str, what: str) -> Any:
    """Return what JSON says; raise InputError, for which see `read_json`, if it is none."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        kind = other_kind(content[:HEAD_BYTES])
        if kind.startswith("XML"):
            kind = "XML, not JSON; export it in COCO format"
        if kind:
            raise InputError(f"{path} is {kind}.") from None
        raise InputError(f"{what.capitalize()} {path} are not valid JSON: {error}.") from error


def _unpacked(stored: bytes, path: Path | str) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(stored)) as archive:
            content = archive.read(MAX_UNPACKED + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} is a gzip file that cannot be unpacked: {error}.") from None
    if len(content) > MAX_UNPACKED:
        raise InputError(f"{path} unpacks to more bytes than the {MAX_UNPACKED} that are read.")
    return content
