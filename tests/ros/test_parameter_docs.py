import json
import shutil

import pytest
from places import ROOT

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

import yaml
from rclpy.node import Node

from sipmask_ros.parameter_docs import PAGE, TABLES, contents, main, with_tables
from sipmask_ros.parameter_table import declare, read, rows

FILES = {path.relative_to(ROOT): text for path, text in contents(ROOT).items()}

pytestmark = pytest.mark.usefixtures("ros")


@pytest.mark.parametrize("file", FILES, ids=str)
def test_the_files_say_what_the_tables_say(file):
    found = (ROOT / file).read_text(encoding="utf-8") if (ROOT / file).is_file() else None
    assert found == FILES[file], f"{file} differs from the tables in code; run `make parameters`"


@pytest.mark.parametrize("namespace", ["", "/robot", "/fleet/robot"])
@pytest.mark.parametrize(("node", "table", "file"), TABLES)
def test_ros_reads_the_shipped_file_in_any_namespace(node, table, file, namespace, tmp_path):
    """The first value is another, since defaults are there without a file."""
    first = rows(table)[0]
    changed = tmp_path / "changed.yaml"
    written = f"{first.name}: {json.dumps(first.default)}"
    value = ["/front"] if type(first.default) is tuple else "clip.mp4"
    text = (ROOT / file).read_text()
    assert text.count(written) == 1
    changed.write_text(text.replace(written, f"{first.name}: {json.dumps(value)}"))
    above = tmp_path / "above.yaml"  # as ros2 launch writes what it is told beside a file
    above.write_text("/**:\n  ros__parameters:\n    transport: compressed\n")
    options = [word for path in (changed, above) for word in ("--params-file", str(path))]
    reader = Node(node, namespace=namespace, cli_args=["--ros-args", *options])
    declare(reader, table)
    wanted = table(**{first.name: value, "transport": "compressed"})
    assert read(reader, table) == wanted
    reader.destroy_node()


@pytest.mark.parametrize(("node", "table", "file"), TABLES)
def test_the_shipped_file_names_every_parameter(node, table, file):
    written = yaml.safe_load((ROOT / file).read_text())[f"/**/{node}"]["ros__parameters"]
    assert list(written) == [row.name for row in rows(table)]


@pytest.mark.parametrize(
    "row",
    [row for _, table, _ in TABLES for row in rows(table)],
    ids=lambda row: row.name,
)
def test_a_description_is_one_cell_of_a_table_and_names_every_choice(row):
    assert row.description.endswith(".")
    assert not {"|", "\n"} & set(row.description)
    assert all(f"`{choice}`" in row.description for choice in row.choices)


def test_the_program_writes_the_files_it_is_checked_against(tmp_path, monkeypatch, capsys):
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / PAGE, tmp_path / PAGE)
    monkeypatch.chdir(tmp_path)
    main()
    written = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.relative_to(tmp_path): path.read_text("utf-8") for path in written} == FILES


def test_elsewhere_the_program_says_where_it_belongs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"node\.md does not exist"):
        main()


def test_a_page_without_a_table_s_place_is_refused_with_what_it_must_hold():
    with pytest.raises(SystemExit, match="<!-- parameters of segmentation_node -->"):
        with_tables("# Nothing here")
