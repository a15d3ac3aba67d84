import re
import subprocess
import sys

import pytest
from places import ROOT

LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def test_the_site_builds_without_a_broken_link(tmp_path):
    """MkDocs checks every link and anchor between the pages, and every name of the API's page."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    built = subprocess.run(
        [*command, "--site-dir", tmp_path / "site"], cwd=ROOT, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stdout + built.stderr
    api = (tmp_path / "site/api/index.html").read_text()
    assert "sipmask_core.Predictor" in api
    assert "message_to_instances" in api


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "examples/README.md"])
def test_links_of_pages_beside_the_site_lead_somewhere(page):
    path = ROOT / page
    missing = [link for link in LINK.findall(path.read_text()) if not (path.parent / link).exists()]
    assert not missing


def test_the_readme_is_one_screen_of_reading():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 90
