"""From a published file to weights that have a name here: fetched, checked, loaded, converted."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipmask_core.errors import InputError
from sipmask_core.model.checkpoints import load_checkpoint, save_checkpoint
from sipmask_core.model.sipmask import build_model
from sipmask_core.runtime.files import require_file, write_json
from sipmask_core.runtime.provenance import sha256
from sipmask_core.weights.download import NoFileError, download
from sipmask_core.weights.home import path_of

if TYPE_CHECKING:
    from sipmask_core.weights.table import Weights


@dataclass(frozen=True)
class Record:
    """What was got, as it stands in NAME.json beside the weights.

    source: the address or file. file_name: the name that the server gave, "" if none. bytes,
    sha256: of what was got, before it was converted. sha256_was_known: whether that was compared
    with a hash known beforehand. fetched: when, UTC.
    """

    name: str
    source: str
    file_name: str
    bytes: int
    sha256: str
    sha256_was_known: bool
    fetched: str


def get(weights: Weights, source: str | None = None) -> Record:
    """Fetch weights, check and load them strictly, and write them down as .safetensors.

    source: a file, or an address that begins with http:// or https://, in place of the published
    one. Raises InputError if the file cannot be got or written, has another hash than is known, or
    does not load into the model of that name; then the weights that were here before stay as they
    are.
    """
    target = path_of(weights.name)
    is_file = source is not None and not source.startswith(("http://", "https://"))
    if is_file:
        original, file_name = Path(str(source)), Path(str(source)).name
        require_file(original, "checkpoint")
    else:
        address = source or weights.download_link
        suffix = ".safetensors" if address.endswith(".safetensors") else ".pth"
        original = target.with_name(f"{weights.name}.download{suffix}")
        try:
            file_name = download(address, original)
        except NoFileError as error:
            raise InputError(f"{error} {_by_hand(weights)}") from None
    try:
        return _take(weights, original, target, source or weights.link, file_name)
    finally:
        if not is_file:
            original.unlink(missing_ok=True)


def record_of(name: str) -> dict[str, Any]:
    """Return what is written down of fetched weights; empty if nothing readable is."""
    try:
        written = json.loads(path_of(name).with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return written if isinstance(written, dict) else {}


def _take(weights: Weights, original: Path, target: Path, source: str, file_name: str) -> Record:
    digest = sha256(original)
    if digest is None:
        raise InputError(f"{original} cannot be read.")
    if weights.sha256 not in (None, digest):
        raise InputError(
            f"What {source} gives for {weights.name} has SHA-256 {digest}, and {weights.sha256} is"
            " known: it is damaged or another file, and was not taken."
        )
    record = Record(
        name=weights.name,
        source=source,
        file_name=file_name,
        bytes=original.stat().st_size,
        sha256=digest,
        sha256_was_known=weights.sha256 is not None,
        fetched=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    model = build_model(weights.name)
    try:
        metadata = load_checkpoint(model, original)
    except InputError as error:
        raise InputError(f"What {source} gives was not taken. {error}") from None
    published = {kind: f"{figure:g}" for kind, figure in weights.published.items()}
    save_checkpoint(
        model,
        target,
        metadata
        | {
            "source": source,
            "source_sha256": digest,
            "source_file": file_name,
            "licence": weights.licence,
            "published_AP": json.dumps({weights.benchmark.name: published}),
        },
    )
    write_json(target.with_suffix(".json"), asdict(record))
    return record


def _by_hand(weights: Weights) -> str:
    return (
        f"A browser may get it at {weights.link}; then `sipmask weights get {weights.name}"
        " --from FILE` takes it."
    )
