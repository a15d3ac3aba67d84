import re
import shlex
import subprocess
import sys

import pytest
from places import ROOT

from sipmask_core.cli.main import make_parser

LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
PAGES = [ROOT / "README.md", ROOT / "examples" / "README.md", *sorted(ROOT.glob("docs/*.md"))]


def shown_commands():
    """Yield where each `sipmask` command stands that a page or a verb's help shows, and its words.

    Those with an ellipsis are left out.
    """
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if "sipmask" in words and "..." not in words:
                    yield page.name, words[words.index("sipmask") + 1 :]
    for file in sorted((ROOT / "sipmask_core" / "cli").glob("*.py")):
        text = re.sub(r"\\\\\n +", "", file.read_text(encoding="utf-8"))
        # What is set apart after a command explains it.
        for command in re.findall(r"^  sipmask (.+?)(?:  .*)?$", text, re.MULTILINE):
            if "..." not in command:
                yield file.name, shlex.split(command)


@pytest.mark.slow
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
    # Files beside docs/ are in the repository alone.
    assert "use the messages in tests/vectors:" in (tmp_path / "site/cpp/index.html").read_text()


@pytest.mark.parametrize("path", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda path: path.name)
def test_links_between_files_lead_somewhere(path):
    missing = [link for link in LINK.findall(path.read_text()) if not (path.parent / link).exists()]
    assert not missing


def test_the_readme_is_one_screen_of_reading():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 90


@pytest.mark.parametrize(
    ("place", "words"), [pytest.param(*each, id=" ".join(each[1])) for each in shown_commands()]
)
def test_a_command_that_a_page_or_a_help_text_shows_is_accepted(place, words, capsys):
    try:
        make_parser().parse_args(words)
    except SystemExit as stopped:  # --help ends with 0
        assert stopped.code == 0, f"{place}: {capsys.readouterr().err}"
