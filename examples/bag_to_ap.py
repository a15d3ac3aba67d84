"""From a recording to AP: annotate it with one model, correct by hand, score another against that.

python examples/bag_to_ap.py drive.mcap work/
python examples/bag_to_ap.py drive.mcap work/ runs/mine/best.safetensors
"""

import json
import sys
from pathlib import Path

from sipmask_core.cli.main import main as sipmask


def main(bag: str, folder: str, candidate: str | None = None) -> int:
    """Print the mask AP of each topic; candidate: the model to score, None for the one that ships.

    Without corrections, the model that annotated is only compared with itself.
    """
    truth, seen = Path(folder, "truth"), Path(folder, "seen")
    if not truth.exists():  # once; then correct truth/annotations.json in CVAT or Label Studio
        status = sipmask(["dataset", "from-bag", bag, "--output", str(truth)])
        if status:
            return status
    model = [] if candidate is None else ["--checkpoint", candidate]
    scores = ["--ground-truth", str(truth / "annotations.json"), "--score-threshold", "0.05"]
    status = sipmask(["evaluate", "bag", bag, "--output", str(seen), *scores, *model])
    if status == 0:
        report = json.loads((seen / "report.json").read_text())
        for topic, figures in report["topics"].items():
            print(f"{topic}: mask AP {figures['scores']['segm']['AP']:.3f}")
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
