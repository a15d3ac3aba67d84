"""The published weights: for each configuration where they are, and what AP their authors report.

Links and figures are those of the README of github.com/JialeCao001/SipMask; a figure or hash that
is not known is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DRIVE = "https://drive.google.com"
# What the authors' repository says of the code; of the checkpoints it says nothing.
_APACHE = "none of its own; the code that trained it: Apache-2.0"
_NON_COMMERCIAL = "none of its own; the code that trained it: non-commercial use only"


@dataclass(frozen=True)
class Benchmark:
    """The data on which an AP was measured; count: how many images or videos they are in all."""

    name: str
    protocol: Literal["coco", "youtube-vis"]
    count: int


COCO_VAL = Benchmark("COCO val2017", "coco", 5000)
YOUTUBE_VIS_VAL = Benchmark("YouTube-VIS 2019 valid", "youtube-vis", 302)


@dataclass(frozen=True)
class Weights:
    """One checkpoint that the authors publish.

    name: that of its preset, and of its file here. drive_id: of the file at Google Drive. mask_ap,
    box_ap: in percent, on `benchmark`; None if the authors give none. licence: what the authors'
    repository says of it. sha256: of the published file; None as long as nobody has told it.
    """

    name: str
    drive_id: str
    benchmark: Benchmark
    mask_ap: float
    box_ap: float | None
    licence: str
    sha256: str | None = None

    @property
    def link(self) -> str:
        """The page at which a browser offers the file."""
        return f"{DRIVE}/file/d/{self.drive_id}/view"

    @property
    def download_link(self) -> str:
        """The address that answers with the file, or with a page that asks for a confirmation."""
        return f"{DRIVE}/uc?export=download&id={self.drive_id}"

    @property
    def published(self) -> dict[str, float]:
        """The figures that the authors give, in percent, by what is scored."""
        given = {"segm": self.mask_ap, "bbox": self.box_ap}
        return {kind: figure for kind, figure in given.items() if figure is not None}


# fmt: off
_ALL = (
    Weights("sipmask_r50_caffe_fpn_gn_1x",
            "1t-RSMObxjeSJvHW1tQl8uBUQUU8RKTZO", COCO_VAL, 33.5, 38.2, _APACHE),
    Weights("sipmask_r50_caffe_fpn_gn_ms_2x",
            "1r7u2WUOuFSWRfRBoWRCADJo7nEchwFzq", COCO_VAL, 35.6, 40.8, _APACHE),
    Weights("sipmask_r101_caffe_fpn_gn_ms_4x",
            "1kAoZBMk8f1sd7eIlkizv2onnIU5FGOfK", COCO_VAL, 37.8, 43.6, _APACHE),
    Weights("sipmask_r50_caffe_fpn_ssd_6x",
            "1IFVJN_ZWvF13bqocfFeT42gN2h0F1hFZ", COCO_VAL, 31.7, 36.0, _APACHE),
    Weights("sipmask_r50_caffe_fpn_ssd_gn_10x",
            "1B2cr5gK1yM4KDO5DL7snlazFnILLk_2Q", COCO_VAL, 32.4, 37.1, _APACHE),
    Weights("sipmask_r101_caffe_fpn_ssd_6x",
            "1KrLEKjRzaZ_eiaZ83dIgqQT7V2z1ywA9", COCO_VAL, 33.6, 38.4, _APACHE),
    Weights("sipmask_r101_caffe_fpn_ssd_gn_10x",
            "1-KZI9xyoaX-8yEXqgWlqsmrh2buGrFoE", COCO_VAL, 34.8, 40.3, _APACHE),
    Weights("sipmask++_r101_caffe_fpn_ssd_6x",
            "1evdCVqGVKfKrO1RHivuqF1FaDF54gXh9", COCO_VAL, 35.2, 40.1, _APACHE),
    Weights("sipmask++_r101_caffe_fpn_ssd_gn_10x",
            "1APPkFQ8U4HJ4B8xhcyyn-rB8uOZqJGa7", COCO_VAL, 36.1, 41.3, _APACHE),
    Weights("benchmark_sipmask_R_50_FPN_1x",
            "11lc6zOSURYca0jCbxH-tNnd6atYyPSf2", COCO_VAL, 34.2, 39.5, _NON_COMMERCIAL),
    Weights("benchmark_sipmask_R_101_FPN_ms_3x",
            "13_KwrGVE31c7Ts4IqGlwDzzopwZUYb65", COCO_VAL, 37.8, 44.1, _NON_COMMERCIAL),
    Weights("vis_sipmask_r50_caffe_fpn_gn_1x",
            "1HIQyzApw6b7CUdTxchZT_TIcGYcDodbn", YOUTUBE_VIS_VAL, 32.5, None, _APACHE),
    Weights("vis_sipmask_r50_caffe_fpn_gn_ms_1x",
            "1BWU8_eaDkGcJ5YEXRzs5oDg6E3adgXWt", YOUTUBE_VIS_VAL, 33.7, None, _APACHE),
)
# fmt: on

PUBLISHED = {weights.name: weights for weights in _ALL}
