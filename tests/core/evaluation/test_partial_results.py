import json

import pytest

from sipmask_core.errors import InputError
from sipmask_core.evaluation.partial_results import PartialResults

MADE_BY = {"weights": "ab12", "score_threshold": 0.05, "size": (96, 96)}
RESULTS = [{"score": 1 / 3, "segmentation": {"counts": '`\\"0'}}]


@pytest.fixture
def target(tmp_path):
    return tmp_path / "new" / "results.json"


def interrupted_run(target, items):
    with PartialResults(target, MADE_BY) as partial:
        for item_id, value in items.items():
            partial.add(item_id, value)
    return partial.path


def test_a_second_run_finds_what_the_first_has_finished(target):
    path = interrupted_run(target, {7: RESULTS, 3: []})
    assert path.name == "results.json.partial"
    with PartialResults(target, MADE_BY) as partial:
        assert partial.done == {7: RESULTS, 3: []}
        partial.add(9, RESULTS)
    with PartialResults(target, MADE_BY) as partial:
        assert list(partial.done) == [7, 3, 9]


@pytest.mark.parametrize("cut", [1, 2, 10])
def test_a_line_that_was_cut_short_is_dropped_and_written_anew(target, cut):
    path = interrupted_run(target, {1: RESULTS, 2: RESULTS})
    path.write_bytes(path.read_bytes()[:-cut])
    with PartialResults(target, MADE_BY) as partial:
        assert partial.done == {1: RESULTS}
        partial.add(2, [])
    with PartialResults(target, MADE_BY) as partial:
        assert partial.done == {1: RESULTS, 2: []}


@pytest.mark.parametrize("nonsense", [b"\0\0\0\n", b'{"id": 3}\n', b"[3]\n"])
def test_what_follows_a_damaged_line_is_dropped(target, nonsense):
    path = interrupted_run(target, {1: RESULTS})
    good = path.read_bytes()
    path.write_bytes(good + nonsense + b"[5, []]\n")
    with PartialResults(target, MADE_BY) as partial:
        assert partial.done == {1: RESULTS}
    assert path.read_bytes() == good


@pytest.mark.parametrize("beginning", [b"", b'{"made_by": {"wei'])
def test_a_run_that_was_killed_at_once_leaves_nothing_in_the_way(target, beginning):
    path = interrupted_run(target, {})
    path.write_bytes(beginning)
    interrupted_run(target, {1: RESULTS})
    with PartialResults(target, MADE_BY) as partial:
        assert partial.done == {1: RESULTS}


def test_results_of_another_making_are_refused_with_what_differs(target):
    path = interrupted_run(target, {1: RESULTS})
    before = path.read_bytes()
    changed = {**MADE_BY, "score_threshold": 0.3, "tracker": "online"}
    with pytest.raises(InputError) as caught, PartialResults(target, changed):
        pass
    message = str(caught.value)
    assert str(path) in message and "restart to forget it" in message
    assert 'score_threshold was 0.05 and is 0.3; tracker was not given and is "online"' in message
    assert "weights" not in message and "size" not in message
    assert path.read_bytes() == before


def test_a_restart_forgets_what_is_there(target):
    interrupted_run(target, {1: RESULTS})
    changed = {**MADE_BY, "score_threshold": 0.3}
    with PartialResults(target, changed, restart=True) as partial:
        assert partial.done == {}
    with PartialResults(target, changed) as partial:
        assert partial.done == {}


@pytest.mark.parametrize("content", ["[1, []]\n", "some notes\n", json.dumps(MADE_BY) + "\n"])
def test_a_file_of_another_kind_is_left_alone(target, content):
    target.parent.mkdir()
    path = target.with_name("results.json.partial")
    path.write_text(content)
    with (
        pytest.raises(InputError, match="not what an interrupted evaluation leaves"),
        PartialResults(target, MADE_BY),
    ):
        pass
    assert path.read_text() == content


def test_nothing_stays_once_it_is_removed(target):
    with PartialResults(target, MADE_BY) as partial:
        partial.add(1, RESULTS)
        partial.remove()
    assert list(target.parent.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match=r"Cannot make the folder .*file: File exists"),
        PartialResults(tmp_path / "file" / "results.json", MADE_BY),
    ):
        pass
