"""Every name that the package exports has an example, and the examples do what they say."""

from __future__ import annotations

import doctest

import pytest

import sipmask_core as sm

NAMES = [
    pytest.param(name, marks=pytest.mark.slow) if "onnx" in name.lower() else name
    for name in sm.__all__
]


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_a_name_does_what_it_says(
    name: str, tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if "onnx" in name.lower():
        pytest.importorskip("onnxscript", reason="the onnx extra is not installed")
    monkeypatch.chdir(tmp_path)
    exported = getattr(sm, name)
    (example,) = doctest.DocTestFinder(recurse=False).find(exported, name)
    assert example.examples, "it has no example"
    outcome = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example)
    assert outcome.failed == 0, capsys.readouterr().out
