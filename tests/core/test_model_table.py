"""The table of published configurations that docs/programs/model_table.py writes."""

import runpy

import pytest
from places import ROOT

from sipmask_core.weights.table import PUBLISHED

pytestmark = pytest.mark.slow

SCRIPT = runpy.run_path(str(ROOT / "docs" / "programs" / "model_table.py"), run_name="script")
PAGE = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
SOME = ["sipmask_r50_caffe_fpn_ssd_6x", "vis_sipmask_r50_caffe_fpn_gn_1x"]


def test_the_page_lists_every_published_configuration_once():
    assert list(SCRIPT["kept"](PAGE)[0]) == list(PUBLISHED) == list(SCRIPT["VERIFIED"])


@pytest.mark.parametrize("name", SOME)
def test_a_row_of_the_page_is_that_of_the_script_and_its_time_is_kept(name):
    row, line, kept = SCRIPT["row"], SCRIPT["line"], SCRIPT["kept"]
    time = kept(PAGE)[0][name]
    assert f"{line(row(PUBLISHED[name], time))}\n" in PAGE
    changed = PAGE.replace(line(row(PUBLISHED[name], time)), line(row(PUBLISHED[name], "7")))
    assert kept(changed)[0][name] == "7"


def test_the_readme_has_the_same_figures_in_short():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = PAGE.partition(SCRIPT["BEGIN"])[2].partition(SCRIPT["END"])[0]
    for name in SCRIPT["SHORT"]:
        (found,) = (line for line in table.splitlines() if line.startswith(f"| `{name}`"))
        cells = found.removeprefix("| ").removesuffix(" |").split(" | ")
        assert f"{SCRIPT['short_line'](cells)}\n" in readme
