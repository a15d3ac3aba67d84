"""Write the tables of parameters into config/*.yaml and docs/node.md: `make parameters`."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipmask_core.runtime.files import atomic_path
from sipmask_ros.camera.camera_source import Settings
from sipmask_ros.node.parameters import Parameters
from sipmask_ros.parameter_table import Effect, rows

if TYPE_CHECKING:
    from sipmask_ros.parameter_table import ParameterTable

# The name of a node, its parameters, and the file that lists them.
TABLES: tuple[tuple[str, type[ParameterTable], str], ...] = (
    ("segmentation_node", Parameters, "config/segmentation.yaml"),
    ("camera_source", Settings, "config/camera_source.yaml"),
)
PAGE = "docs/node.md"
_WIDTH = 100


def as_yaml(node: str, table: type[ParameterTable]) -> str:
    """Return the text for `--params-file` with every parameter's default, explained in comments."""
    lines = [
        f"# Every parameter of {node} with its default, written by `make parameters`.",
        # In whatever namespace the node runs.
        f"/**/{node}:",
        "  ros__parameters:",
    ]
    for row in rows(table):
        lines += textwrap.wrap(
            row.description, _WIDTH, initial_indent="    # ", subsequent_indent="    # "
        )
        # JSON is YAML in which no word can be taken for a number or a truth value.
        value = json.dumps(row.default)
        lines.append(
            f"    {row.name}: {value}  # {row.accepted()}; takes effect {row.effect.value}"
        )
    return "\n".join(lines) + "\n"


def as_markdown(table: type[ParameterTable]) -> str:
    """Return a table in Markdown and, under it, what its marks mean."""
    lines = ["| parameter | default | change | |", "|---|---|---|---|"]
    present = rows(table)
    for row in present:
        mark = row.effect.name.lower()
        lines.append(f"| `{row.name}` | `{_shown(row.default)}` | {mark} | {row.description} |")
    marks = [
        f"*{effect.name.lower()}*, {effect.value}"
        for effect in Effect
        if effect in {row.effect for row in present}
    ]
    legend = f"When a change takes effect: {'; '.join(marks)}."
    lines += ["", *textwrap.wrap(legend, _WIDTH)]
    return "\n".join(lines)


def with_tables(page: str) -> str:
    """Return the text with each node's table between the comments that mark its place.

    Raise SystemExit unless each of these comments is there exactly once.
    """
    for node, table, _ in TABLES:
        begin, end = f"<!-- parameters of {node} -->", f"<!-- end of parameters of {node} -->"
        if page.count(begin) != 1 or page.count(end) != 1:
            raise SystemExit(f"{PAGE} must hold once each: {begin} and {end}")
        before, after = page.split(begin)[0], page.split(end)[1]
        page = f"{before}{begin}\n{as_markdown(table)}\n{end}{after}"
    return page


def contents(root: Path) -> dict[Path, str]:
    """Return what each file made from the tables in a source tree should hold.

    Raise SystemExit if it has no docs/node.md.
    """
    page = root / PAGE
    if not page.is_file():
        raise SystemExit(f"{page.resolve()} does not exist; run this in the project's folder.")
    files = {root / file: as_yaml(node, table) for node, table, file in TABLES}
    return files | {page: with_tables(page.read_text(encoding="utf-8"))}


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)


def main() -> None:
    """Write the files of the source tree in the current folder."""
    for path, text in contents(Path()).items():
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
