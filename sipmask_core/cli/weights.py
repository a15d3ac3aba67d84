"""Weights by name: list what is published, get it, and verify that it reaches the published AP.

`get` stores NAME.safetensors in $SIPMASK_HOME/weights, or in the user's cache folder if that is not
set; beside it, NAME.json says where it came from. From then on the name stands for the file:
`--checkpoint NAME`, the node's parameter `model`, and `sm.Predictor.from_pretrained("NAME")`. Only
`get` ever downloads.

examples:
  sipmask weights list
  sipmask weights get sipmask_r50_caffe_fpn_ssd_gn_10x
  sipmask weights get sipmask_r50_caffe_fpn_ssd_gn_10x --from Downloads/SipMask_R50.pth
  sipmask predict photo.jpg --output seen/ --checkpoint sipmask_r50_caffe_fpn_ssd_gn_10x
  sipmask weights verify sipmask_r50_caffe_fpn_ssd_gn_10x \\
      --annotations instances_val2017.json --images val2017/
"""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipmask_core.cli import weights_verify

if TYPE_CHECKING:
    import argparse

    from sipmask_core.weights.table import Weights

SUMMARY = "published weights by name: list, get, verify"

_GET = """\
Fetch published weights, compare them with their SHA-256 if it is known, load them strictly, and
store them as .safetensors with class names and origin.

If the connection drops, the same command continues from there. Google Drive's question whether to
download a large file without a virus scan is answered with yes. If it refuses because too many
people have downloaded the file lately, get the file in another way and pass it with --from.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the kinds of `sipmask weights` and their options."""
    kinds = parser.add_subparsers(title="what to do", metavar="list, get or verify", required=True)
    shown = kinds.add_parser("list", help="what is published, and what you have", description=_LIST)
    shown.add_argument("--json", type=Path, metavar="FILE", help="also write the table there")
    shown.set_defaults(do=_list)
    got = kinds.add_parser(
        "get",
        help="fetch weights by name",
        description=_GET,
        formatter_class=RawDescriptionHelpFormatter,
    )
    got.add_argument("name", metavar="NAME", help="as `sipmask weights list` shows it")
    got.add_argument(
        "--from",
        dest="source",
        metavar="FILE_OR_URL",
        help="a file that you already have, or another address, instead of the published link",
    )
    got.add_argument(
        "--force", action="store_true", help="fetch them again if they are already here"
    )
    got.set_defaults(do=_get)
    weights_verify.add_arguments(kinds)


def run(args: argparse.Namespace) -> int:
    """Do what was named."""
    status: int = args.do(args)
    return status


_LIST = "List the published weights, with the AP that their authors report, and which are here."


def _list(args: argparse.Namespace) -> int:
    from sipmask_core.runtime.files import write_json
    from sipmask_core.weights.home import SHIPPED, folder, path_of
    from sipmask_core.weights.table import PUBLISHED

    rows = [_row(weights) for weights in PUBLISHED.values()]
    print(f"{'name':<38}{'here':<6}{'mask AP':>8}{'box AP':>8}  on")
    print(f"{SHIPPED:<38}{'ships':<6}{'':>16}  see docs/models.md")
    for row in rows:
        mask, box = (_figure(row[key]) for key in ("mask_AP", "box_AP"))
        here = "yes" if row["file"] else "no"
        print(f"{row['name']:<38}{here:<6}{mask:>8}{box:>8}  {row['benchmark']}")
    print(
        f"The AP is the authors'. `sipmask weights get NAME` fetches to {folder()}. The checkpoints"
        " carry no licence of their own; the code that trained benchmark_* is for non-commercial"
        " use, that of the others is Apache-2.0."
    )
    if args.json:
        write_json(args.json, {"shipped": str(path_of(SHIPPED)), "weights": rows})
    return 0


def _row(weights: Weights) -> dict[str, Any]:
    from sipmask_core.weights.fetch import record_of
    from sipmask_core.weights.home import path_of

    path = path_of(weights.name)
    return {
        "name": weights.name,
        "file": str(path) if path.is_file() else None,
        "got": record_of(weights.name),
        "mask_AP": weights.mask_ap,
        "box_AP": weights.box_ap,
        "benchmark": weights.benchmark.name,
        "link": weights.link,
        "licence": weights.licence,
        "sha256": weights.sha256,
    }


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _get(args: argparse.Namespace) -> int:
    from sipmask_core.weights.fetch import get, record_of
    from sipmask_core.weights.home import SHIPPED, path_of

    if args.name == SHIPPED:
        print(f"{SHIPPED} ships with the package: {path_of(SHIPPED)}")
        return 0
    weights = weights_verify.published(args.name)
    path = path_of(args.name)
    if path.is_file() and not args.force:
        source = record_of(args.name).get("source", "an unknown source")
        print(f"{args.name} is here, from {source}: {path}; --force gets it anew.")
        return 0
    record = get(weights, args.source)
    known = "as known" if record.sha256_was_known else "no hash is known to compare it with"
    print(
        f"Got {record.name} from {record.source}: {record.bytes} bytes, SHA-256 {record.sha256}"
        f" ({known}). It loads strictly.\nWritten: {path}, {path.with_suffix('.json')}"
    )
    return 0
