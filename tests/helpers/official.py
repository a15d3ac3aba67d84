"""The original code's outputs on weights that need no file; absent on most machines.

The folder is SIPMASK_OFFICIAL_DIR (default ../shared/official). Every golden file in it is used,
whatever its seed.
"""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from places import OFFICIAL

import sipmask_core as sm
from sipmask_core.model.maskrcnn_benchmark_keys import to_benchmark_key


class Reference(NamedTuple):
    """One golden file: its record (JSON) and its sampled tensors (npz)."""

    record: dict[str, Any]
    arrays: Any

    def sampled(self, name: str, tensor: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return the tensor's values at the sampled places, and those of the original."""
        values = tensor.detach().contiguous().flatten().numpy()
        return values[self.arrays[f"{name}/idx"]], self.arrays[f"{name}/val"]


def golden_files(folder: str, *families: str) -> list[Any]:
    """Return parameters for pytest: one per record in that folder of these families.

    families: how the names of the configurations start.
    """
    files = sorted(
        file
        for family in families
        for file in (OFFICIAL / folder).glob(f"{family}*.json")
        if not file.name.endswith(".results.json")
    )
    if not files:
        absent = pytest.mark.skip(
            reason=f"no reference values of {families} in {OFFICIAL / folder}"
        )
        return [pytest.param(None, marks=[pytest.mark.parity, absent], id="absent")]
    return [pytest.param(file, marks=pytest.mark.parity, id=file.stem) for file in files]


def read_reference(file: Path) -> Reference:
    """Read the record and the arrays of a golden file."""
    return Reference(json.loads(file.read_text()), np.load(file.with_suffix(".npz")))


def reference_model(config: str, seed: int, cls_bias: float) -> sm.SipMask:
    """Return a model of that preset with the weights of the reference recipe."""
    model = sm.build_model(config)
    # The recipe draws by the original's key names.
    original = to_benchmark_key if config.startswith("benchmark") else str
    weights = {
        key: _recipe().fill(original(key), value.shape, seed, cls_bias)
        for key, value in model.state_dict().items()
    }
    model.load_state_dict({k: torch.from_numpy(np.asarray(v)) for k, v in weights.items()})
    return model


@cache
def _recipe() -> Any:
    spec = importlib.util.spec_from_file_location("recipe", OFFICIAL / "recipe.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
