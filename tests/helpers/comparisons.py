"""Results and true objects of one class, by their overlaps."""

from __future__ import annotations

import numpy as np

from sipmask_core.evaluation.average_precision import (
    Comparison,
)

ALL = (0, 1e10)


def comparison(ious, scores=None, areas=None, truth_areas=None, crowd=None):
    ious = np.array(ious, float)
    results, objects = ious.shape
    return Comparison.of_one(
        scores=np.linspace(0.9, 0.1, results) if scores is None else np.array(scores, float),
        areas=np.full(results, 50.0) if areas is None else np.array(areas, float),
        truth_areas=np.full(objects, 50.0) if truth_areas is None else np.array(truth_areas, float),
        crowd=np.zeros(objects, bool) if crowd is None else np.array(crowd, bool),
        ious=ious,
    )
