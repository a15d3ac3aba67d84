"""Where the repository is, and the photographs that some tests need."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("SIPMASK_DATA_DIR", ROOT.parent / "shared" / "data"))
OFFICIAL = Path(os.environ.get("SIPMASK_OFFICIAL_DIR", ROOT.parent / "shared" / "official"))
