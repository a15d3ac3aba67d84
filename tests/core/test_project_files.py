"""The files that install, check and release the project name what there is."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from places import ROOT

tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")
yaml = pytest.importorskip("yaml")

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
CI = ROOT / ".github" / "workflows" / "ci.yml"
PAGES = [
    ROOT / "README.md",
    ROOT / "RELEASING.md",
    ROOT / "CONTRIBUTING.md",
    *ROOT.glob("docs/*.md"),
]
# What conda-forge calls the distributions of PyPI.
CONDA_NAMES = {"opencv-python-headless": "py-opencv", "torch": "pytorch"}


def workflow() -> dict[str, Any]:
    return yaml.safe_load(CI.read_text())


def matrix(job: str) -> dict[str, Any]:
    return workflow()["jobs"][job]["strategy"]["matrix"]


def lower_bounds(lines: list[str]) -> dict[str, str]:
    bounds = (re.fullmatch(r"([a-z-]+)(>=[\d.]+)", line) for line in lines)
    return {match[1]: match[2] for match in bounds if match}


def release() -> tuple[str, str]:
    """Return version and day of the newest release in the changelog."""
    text = (ROOT / "CHANGELOG.md").read_text()
    match = re.search(r"^## (\d+\.\d+\.\d+) - (\d{4}-\d\d-\d\d)$", text, re.MULTILINE)
    assert match, "CHANGELOG.md has no release with a date"
    return match[1], match[2]


@pytest.mark.parametrize("page", [*PAGES, CI], ids=lambda path: path.name)
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`|run: )make ([a-z]+)", page.read_text(), re.MULTILINE))
    assert named <= targets


def test_ci_runs_programs_that_are_there() -> None:
    steps = [step for job in workflow()["jobs"].values() for step in job["steps"]]
    programs = {step["run"] for step in steps if step.get("run", "").startswith(".ci/")}
    assert programs == {".ci/run"}
    for program in (ROOT / ".ci").iterdir():
        assert os.access(program, os.X_OK), program


def test_ci_runs_the_suite_on_every_python_and_with_every_choice_of_versions() -> None:
    jobs = matrix("suite")["include"]
    declared = {line.rpartition(":: ")[2] for line in PROJECT["classifiers"] if ":: 3." in line}
    assert {job["python"] for job in jobs} == declared
    chosen = {job.get("constraints", f"constraints-{job.get('ros', 'jazzy')}.txt") for job in jobs}
    assert chosen == {path.name for path in ROOT.glob("constraints-*.txt")}


def test_pixi_asks_for_what_pip_asks_for() -> None:
    pixi = tomllib.loads((ROOT / "pixi.toml").read_text())
    wanted = lower_bounds([*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["demo"]])
    for name, bound in wanted.items():
        assert pixi["dependencies"][CONDA_NAMES.get(name, name)] == bound, name
    for name, features in pixi["environments"].items():
        (distribution,) = features
        feature = pixi["feature"][distribution]
        assert all(
            package.startswith(f"ros-{distribution}-") for package in feature["dependencies"]
        )
        assert feature["activation"]["scripts"] == [f"install/{distribution}/setup.bash"], name


def test_images_are_built_of_each_long_term_release_that_pixi_has() -> None:
    pixi = tomllib.loads((ROOT / "pixi.toml").read_text())
    assert set(matrix("image")["ros"]) == set(pixi["feature"])


def test_the_image_installs_extras_that_exist_and_starts_a_launch_file_that_exists() -> None:
    text = (ROOT / "Dockerfile").read_text()
    (extras,) = re.findall(r"src/sipmask_ros\[([a-z,]+)\]", text)
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
    (launch_file,) = re.findall(r'CMD .*"([a-z_.]+\.launch\.py)"\]', text)
    assert (ROOT / "launch" / launch_file).is_file()


def test_the_version_that_is_released_is_that_of_the_package_and_of_the_citation() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert release() == (citation["version"], citation["date-released"])
    assert PROJECT["version"] == citation["version"]
    assert citation["license"] == PROJECT["license"]


def test_the_changelog_has_room_for_the_next_release() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert text.index("## Unreleased") < text.index(f"## {release()[0]}")


@pytest.mark.parametrize(
    "form", sorted(ROOT.glob(".github/ISSUE_TEMPLATE/[!c]*.yml")), ids=lambda path: path.name
)
def test_a_form_for_issues_has_fields_of_different_names(form: Path) -> None:
    document = yaml.safe_load(form.read_text())
    assert document["name"] and document["description"]
    names = [field["id"] for field in document["body"]]
    assert names and len(set(names)) == len(names)
