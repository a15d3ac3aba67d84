import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from sipmask_core.data.rle import checked_rle
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
        ({"size": [5, 4], "counts": [10.0, 10.0]}, "neither a list of integers"),
        ({"size": [5, 4]}, "neither a list of integers"),
        ({"size": [5, 4], "counts": "~~~"}, "not a compressed run-length string"),
        ({"size": [5, 4], "counts": "\x7f"}, "not a compressed run-length string"),
        ({"size": [5, 4], "counts": "PPPPPPPPPPPP"}, "not a compressed run-length string"),
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
