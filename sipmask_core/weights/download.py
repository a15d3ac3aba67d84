"""A file from the web: whole or not at all, and going on where an earlier attempt was cut."""

from __future__ import annotations

import fcntl
import http.client
import json
import re
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from tqdm import tqdm

from sipmask_core.errors import InputError
from sipmask_core.runtime.files import make_folder, writing
from sipmask_core.weights import pages

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT = 30.0  # seconds without a byte
MOST_BYTES = 4 << 30  # of a file; no checkpoint is near that
_MOST_PAGES = 3  # confirmations in a row
_BLOCK = 1 << 18
_NETWORK_ERRORS = (OSError, http.client.HTTPException)


class NoFileError(InputError):
    """The server cannot be reached, or has something else: another way to the file may help."""


class Part(NamedTuple):
    """What the beginning of a file that is here belongs to; as JSON beside it.

    total: bytes of the whole, None if the server does not say. version: the server's mark of what
    it gave (ETag or Last-Modified), "" if it has none.
    """

    url: str
    total: int | None
    version: str


def download(url: str, target: Path) -> str:
    """Fetch a file to `target`; return the name that the server gives it, or "".

    While it comes in it stands beside `target` under a name that ends in .part; if the connection
    is cut it stays there, and the next call goes on from its end, provided that the server still
    has the same file and can send a part of it. Pages that ask for a confirmation are confirmed.
    Raises NoFileError if the server cannot be reached, has no such file or sends a page, and
    InputError if too few bytes come, if another process is fetching the file, and if it cannot be
    written.
    """
    make_folder(target.parent)
    part = target.with_name(f"{target.name}.part")
    with writing(part), part.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"Another process is fetching {target} already.") from None
        name = _fill(url, stream, _note_of(part))
        part.replace(target)
        _note_of(part).unlink(missing_ok=True)
    return name


def _note_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _fill(url: str, stream: IO[bytes], note: Path) -> str:
    """Append what is missing to the stream, or start it anew; return the server's file name."""
    old = _read_note(note)
    have = stream.tell() if old is not None and old.url == url else 0
    with _answer(url, have, old) as answer:
        total, version = _size(answer), _version(answer)
        goes_on = answer.status == http.client.PARTIAL_CONTENT
        is_other = goes_on and (
            old is None or _start(answer) != have or (total, version) != old[1:]
        )
        if is_other and not have:
            raise NoFileError(f"{_host(url)} answers with a part of the file, not asked for any.")
        if is_other:
            note.unlink(missing_ok=True)
        elif not goes_on:
            have = 0
            stream.truncate(0)
            stream.seek(0)
        if (total or 0) > MOST_BYTES:
            raise InputError(f"{url} has {total} bytes; at most {MOST_BYTES} are taken.")
        if not is_other:
            note.write_text(json.dumps(Part(url, total, version)._asdict()), encoding="utf-8")
            got, is_cut = _copy(answer, stream, have, total)
    if is_other:
        return _fill(url, stream, note)  # from its beginning: the note is gone
    if is_cut or total not in (None, got):
        of_total = "" if total is None else f" of {total}"
        raise InputError(
            f"The connection to {_host(url)} was cut after {got}{of_total} bytes; the same command"
            " goes on from there."
        )
    return answer.headers.get_filename() or ""


def _copy(answer: Any, stream: IO[bytes], have: int, total: int | None) -> tuple[int, bool]:
    """Copy until the answer ends; return how long the stream is now, and whether that was a cut."""
    is_cut = False
    with tqdm(total=total, initial=have, unit="B", unit_scale=True, disable=None) as bar:
        while not is_cut:
            try:
                block = answer.read(_BLOCK)
            except http.client.IncompleteRead as error:
                block, is_cut = error.partial, True
            except _NETWORK_ERRORS:
                block, is_cut = b"", True
            if not block:
                break
            have += len(block)
            if have > MOST_BYTES:
                raise InputError(f"More than {MOST_BYTES} bytes came; that is no checkpoint.")
            stream.write(block)
            bar.update(len(block))
    return have, is_cut


@contextmanager
def _answer(url: str, have: int, old: Part | None) -> Iterator[Any]:
    """Open the file itself, whatever pages come before it, from byte `have` on if possible."""
    opener, address = _opener(), url
    for _ in range(_MOST_PAGES + 1):
        with _open(opener, address, have, old) as answer:
            if answer.headers.get_content_type() != "text/html":
                yield answer
                return
            page = _page(answer)
            following = pages.confirmation(page, answer.url)
        if following is None:
            raise NoFileError(f"{_host(url)} gives no file: {pages.refusal(page)}.")
        address = following
    raise NoFileError(f"{_host(url)} gives no file: it asks for a confirmation again and again.")


def _open(opener: request.OpenerDirector, url: str, have: int, old: Part | None) -> Any:
    headers = {"Accept-Encoding": "identity", "User-Agent": "sipmask"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if old is not None and old.version:
            headers["If-Range"] = old.version
    try:
        return opener.open(request.Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            return _open(opener, url, 0, None)  # what is here is no beginning of it
        why = pages.reason(_page(error))
        said = f": {why}" if why else ""
        raise NoFileError(f"{url} answers {error.code} ({error.reason}){said}.") from None
    except URLError as error:
        reason = getattr(error.reason, "strerror", None) or error.reason
        raise NoFileError(f"{_host(url)} cannot be reached: {reason}.") from None
    except (*_NETWORK_ERRORS, ValueError) as error:
        raise NoFileError(f"{_host(url)} cannot be reached: {error}.") from None


def _page(answer: Any) -> str:
    """Return the text of an answer that is HTML, as far as it comes."""
    try:
        content: bytes = answer.read(pages.MOST_BYTES)
    except _NETWORK_ERRORS:
        return ""
    return content.decode("utf-8", "replace")


def _opener() -> request.OpenerDirector:
    """Make what opens http and https addresses, with cookies and proxies, and nothing else."""
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler(),
        request.UnknownHandler(),
        request.HTTPHandler(),
        request.HTTPSHandler(),
        request.HTTPDefaultErrorHandler(),
        request.HTTPRedirectHandler(),
        request.HTTPErrorProcessor(),
        request.HTTPCookieProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _size(answer: Any) -> int | None:
    """Return the bytes of the whole file, of which the answer may be a part."""
    if answer.status == http.client.PARTIAL_CONTENT:
        _, _, total = answer.headers.get("Content-Range", "").rpartition("/")
    else:
        total = answer.headers.get("Content-Length", "")
    return int(total) if total.isdecimal() else None


def _start(answer: Any) -> int | None:
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _version(answer: Any) -> str:
    headers: Message = answer.headers
    etag = headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")


def _read_note(note: Path) -> Part | None:
    try:
        return Part(**json.loads(note.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # none, or not ours: start anew
        return None


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc or url
    except ValueError:
        return url
