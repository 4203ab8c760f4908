"""How much is there to win?  ``python3 tests/host/run.py --script bench/oracle.py``.

Short schedules of the settings bench (docs/settings.md): every choice of skipped calls is sampled, and the best one in
hindsight stands beside what the own policy chose and beside fewer steps.  The first and the last call are always
computed.  What the best choice does not win, no plan wins with these forecasts.  Writes bench/results/oracle.json.
"""

import argparse
import json
import logging
import sys
import tempfile
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

BENCH = Path(__file__).resolve().parent
REPO = BENCH.parent
sys.path.extend([str(BENCH), str(REPO), str(REPO / "tests"), str(REPO / "tests" / "host")])
import inprocess  # noqa: E402
from layout import base_directory  # noqa: E402
from provision import running_host  # noqa: E402
from settings import span  # noqa: E402
from settings_cells import JUDGED, MODELS  # noqa: E402
from settings_page import ORACLE  # noqa: E402
from settings_runs import Cell  # noqa: E402

CELLS = [(model, "2m_9", 2) for model in ("flux", "hunyuan_video", "wan", "qwen_image", "z_image", "unet")]
CELLS += [("flux_reflow", "quadratic8", 2), ("wan", "euler8", 2)]  # model, setting, skipped calls


def masks(total: int, skipped: int) -> list[str]:
    """Every choice of so many skipped calls, none of them the first or the last."""
    chosen = combinations(range(1, total - 1), skipped)
    return [",".join("0" if call in skips else "1" for call in range(total)) for skips in chosen]


def best_of(cell: Cell, skipped: int) -> dict:
    """The best choice in hindsight, the own policy's, and fewer steps, all with the same number of computed calls."""
    core, total = cell.comfy.pack.dicache_core, round(cell.reference[1])
    config = {"threshold": 1.0, "indicator": "mask", "predictor": "corrected_line", "warmup_steps": 0}
    configs = {mask: core.CacheConfig(mask=mask, **config) for mask in masks(total, skipped)}
    means = {mask: float(np.mean(cell.cached(config)["psnr"])) for mask, config in configs.items()}
    best = max(means, key=means.get)
    computed = total - skipped
    return {
        "model": cell.model.name,
        "setting": cell.setting.name,
        "computed": computed,
        "calls": total,
        "choices": len(means),
        "best": best,
        "best_psnr": round(means[best], 2),
        "own_psnr": round(float(np.mean(cell.cached(cell.own_config(str(computed)))["psnr"])), 2),
        "fewer_psnr": round(float(np.mean(cell.fewer_at(computed)["psnr"])), 2),
    }


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        comfy = inprocess.start(Path(running_host().comfy), base_directory(Path(folder)))
        rows = []
        for name, wanted, skipped in tqdm(CELLS):
            setting = next(s for s in MODELS[name].settings if s.name == wanted)
            rows.append(best_of(Cell(comfy, MODELS[name], setting, span(JUDGED), Path(folder)), skipped))
            print(json.dumps(rows[-1]), flush=True)
    ORACLE.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
