"""The table of published configurations in docs/models.md, which docs/model_table.py writes."""

import runpy

import pytest
from places import ROOT

from sipmask_core.weights.table import PUBLISHED

SCRIPT = runpy.run_path(str(ROOT / "docs" / "model_table.py"), run_name="script")
PAGE = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")


def test_the_page_lists_every_published_configuration_once():
    assert list(SCRIPT["kept"](PAGE)[0]) == list(PUBLISHED) == list(SCRIPT["VERIFIED"])


@pytest.mark.parametrize(
    "name", ["sipmask_r50_caffe_fpn_ssd_6x", "vis_sipmask_r50_caffe_fpn_gn_1x"]
)
def test_a_row_of_the_page_is_that_of_the_script_and_its_time_is_kept(name):
    time = SCRIPT["kept"](PAGE)[0][name]
    assert f"{SCRIPT['row'](PUBLISHED[name], time)}\n" in PAGE
    changed = PAGE.replace(
        SCRIPT["row"](PUBLISHED[name], time), SCRIPT["row"](PUBLISHED[name], "7")
    )
    assert SCRIPT["kept"](changed)[0][name] == "7"
