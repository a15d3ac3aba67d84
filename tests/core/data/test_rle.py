import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from sipmask_core.data.rle import BATCH, areas, checked_rle, checked_rles
from sipmask_core.errors import InputError

masks = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.integers(0, 1)
)


def uncompressed(mask: np.ndarray) -> list[int]:
    column_major = mask.T.reshape(-1)
    changes = np.flatnonzero(np.diff(column_major)) + 1
    runs = np.diff([0, *changes, column_major.size]).tolist()
    return [0, *runs] if column_major[0] else runs


@given(masks)
def test_both_forms_decode_to_the_mask(mask):
    size = list(mask.shape)
    compressed = coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
    for counts in (compressed, uncompressed(mask)):
        rle = checked_rle({"size": size, "counts": counts}, mask.shape, "entry")
        assert np.array_equal(coco_mask.decode(rle), mask)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ({"size": [4, 5], "counts": [20]}, r"entry\.size is \[4, 5\], expected \[5, 4\]"),
        ({"size": [5, 4], "counts": [19]}, "sum to 19, expected non-negative runs that fill 5 x 4"),
        ({"size": [5, 4], "counts": [25, -5]}, "non-negative"),
        ({"size": [5, 4], "counts": [10.5, 9.5]}, "neither a list of integers"),
        ({"size": [5, 4]}, "neither a list of integers"),
        ({"size": [5, 4], "counts": "~~~"}, "not a compressed run-length string"),
        ({"size": [5, 4], "counts": "\x7f"}, "not a compressed run-length string"),
        ({"size": [5, 4], "counts": "PPPPPPPPPPPP"}, "not a compressed run-length string"),
        ({"size": [5, 4], "counts": "PPPPPP0"}, "not a compressed run-length string"),
        ({"size": [5, 4], "counts": "é"}, "not a compressed run-length string"),
        ({"size": [5, 4], "counts": ""}, "sum to 0"),
        ({"size": [5, 4], "counts": "d"}, "ends in the middle of a run"),
        ({"size": [5, 4], "counts": "oooo0"}, "sum to"),
    ],
)
def test_a_malformed_rle_is_refused_before_it_is_decoded(value, complaint):
    with pytest.raises(InputError, match=complaint):
        checked_rle(value, (5, 4), "entry")


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30))
def test_any_text_is_decoded_or_refused(counts):
    try:
        rle = checked_rle({"size": [6, 7], "counts": counts}, (6, 7), "entry")
    except InputError:
        return
    assert coco_mask.decode(rle).shape == (6, 7)


def compressed(mask):
    return coco_mask.encode(np.asfortranarray(mask))["counts"].decode()


def refusal(call):
    """Return what a call returns, and the sentence of its InputError."""
    try:
        return call(), None
    except InputError as error:
        return None, str(error)


def test_pycocotools_misreads_the_seven_character_runs_that_are_refused():
    # Runs 20, 100, 68, 68 of 256 pixels; the last one, -32 against the second, in 2 or 7 letters.
    short, long = ({"size": [64, 4], "counts": f"d0T3T2P{end}"} for end in ("O", "oooooO"))
    assert checked_rle(short, (64, 4), "entry") == short
    assert coco_mask.area(short) == 168
    assert coco_mask.area(long) != 168
    with pytest.raises(InputError, match="not a compressed run-length string"):
        checked_rle(long, (64, 4), "entry")


@given(st.lists(masks, max_size=8), st.data())
def test_many_rles_are_checked_as_each_of_them_is(images, data):
    entries = []
    for number, mask in enumerate(images):
        counts = compressed(mask)
        damage = data.draw(st.sampled_from(["none"] * 6 + ["cut", "change", "insert", "swap"]))
        place = data.draw(st.integers(0, len(counts)))
        letter = chr(data.draw(st.integers(40, 120)))
        if damage == "cut":
            counts = counts[:place]
        elif damage == "change":
            counts = counts[:place] + letter + counts[place + 1 :]
        elif damage == "insert":
            counts = counts[:place] + letter + counts[place:]
        elif damage == "swap":
            counts = counts[place:] + counts[:place]
        value = {"size": list(mask.shape), "counts": counts}
        entries.append((value, mask.shape, f"entry {number}"))
    many = refusal(lambda: checked_rles(entries))
    assert many == refusal(lambda: [checked_rle(*entry) for entry in entries])


# Of one to seven letters, of which the last one ends the run: most texts are nearly well formed.
more, last = (st.sampled_from([chr(first + i) for i in range(32)]) for first in (80, 48))
groups = st.tuples(st.text(more, max_size=6), last).map("".join)


@given(st.lists(st.lists(groups, max_size=6).map("".join), max_size=4))
def test_texts_of_well_formed_groups_are_decoded_or_refused_as_each_of_them_is(texts):
    entries = [({"size": [6, 7], "counts": text}, (6, 7), "entry") for text in texts]
    many, complaint = refusal(lambda: checked_rles(entries))
    assert (many, complaint) == refusal(lambda: [checked_rle(*entry) for entry in entries])
    for rle in many or []:
        assert coco_mask.decode(rle).shape == (6, 7)


def test_forms_and_sizes_may_be_mixed_and_be_more_than_one_batch():
    rng = np.random.default_rng(0)
    entries, images = [], []
    for number in range(2 * BATCH + 3):
        mask = (rng.random(rng.integers(1, 30, 2)) < 0.5).astype(np.uint8)
        form = uncompressed if number % 100 == 7 else compressed
        entries.append(({"size": list(mask.shape), "counts": form(mask)}, mask.shape, "entry"))
        images.append(mask)
    for rle, mask in zip(checked_rles(entries), images, strict=True):
        assert np.array_equal(coco_mask.decode(rle), mask)


def test_the_first_malformed_rle_of_many_is_named():
    good = {"size": [5, 4], "counts": compressed(np.ones((5, 4), np.uint8))}
    entries = [(good, (5, 4), f"entry {number}") for number in range(BATCH + 50)]
    for number in (BATCH + 40, BATCH + 30):
        entries[number] = ({**good, "counts": "~"}, (5, 4), f"entry {number}")
    with pytest.raises(InputError, match=f"entry {BATCH + 30}.counts is not a compressed"):
        checked_rles(entries)


@pytest.mark.parametrize("number", [0, 1, 255, 256, 600])
def test_the_areas_of_any_number_of_masks_are_counted(number):
    masks = [np.zeros((30, 30), np.uint8, order="F") for _ in range(number)]
    for index, mask in enumerate(masks):
        mask.reshape(-1, order="F")[: index % 800] = 1
    counted = areas([coco_mask.encode(mask) for mask in masks])
    assert counted.dtype == float
    assert counted.tolist() == [index % 800 for index in range(number)]
