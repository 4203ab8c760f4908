"""Does a run know how close its picture is?  ``make bench-risk``.

Per caption the risk that the run reckoned for it and how far its picture really was off, for all trained models, at
settings and speeds that people use.  Writes bench/results/risk.json, with rank correlations (Spearman) over all and
within each model, and the line from risk to decibels that the words for a run's end are taken from.
"""

import argparse
import json
import logging
import math
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from tqdm import tqdm

BENCH = Path(__file__).resolve().parent
REPO = BENCH.parent
sys.path.extend([str(BENCH), str(REPO), str(REPO / "tests"), str(REPO / "tests" / "host")])
import inprocess  # noqa: E402
from layout import base_directory  # noqa: E402
from provision import running_host  # noqa: E402
from settings_cells import Model, Setting  # noqa: E402
from settings_runs import Cell  # noqa: E402

from dicache_core import CLOSENESS, LARGEST_PSNR, VISIBLE, closeness_of  # noqa: E402

RESULTS = BENCH / "results" / "risk.json"
CAPTIONS = range(8)
SPEEDS = ("1.5x", "2x", "3x")
SETTINGS = (
    Setting("euler30", "", 30),
    Setting("euler12", "", 12),
    Setting("euler20", "", 20),
    Setting("2m_sgm24", "", 24, "dpmpp_2m", "sgm_uniform"),
    Setting("heun16", "", 16, "heun"),
)
LEAST = (40, 31)  # decibels that "very close" and "close" stand for
MODELS = (  # small, so that all of it takes five minutes on one core
    Model("flux", 12, SETTINGS),
    Model("hunyuan_video", 6, SETTINGS, frames=2),
    Model("wan", 6, SETTINGS, frames=2),
    Model("z_image", 8, SETTINGS),
    Model("qwen_image", 8, SETTINGS),
    Model("unet", 8, SETTINGS),
)


def pictures_of(cell: Cell, speed: str) -> list[dict]:
    """Risk and decibels of each caption; nothing is told of a picture that is the uncached one."""
    core, runs = cell.comfy.pack.dicache_core, []
    config = core.own_config(speed, cell.model.name)
    samples, _ = cell.sample(cell.comfy.pack.model_patchers.attach(cell.patcher(), config, runs=runs))
    return [
        {
            "model": cell.model.name,
            "setting": cell.setting.name,
            "speed": speed,
            "caption": caption,
            "risk": float(f"{runs[-1].risks[row]:.4g}"),
            "psnr": psnr,
        }
        for row, (caption, psnr) in enumerate(zip(cell.pictures, cell.psnr(samples), strict=True))
        if psnr < LARGEST_PSNR
    ]


def measure(comfy: object, models: tuple[Model, ...], folder: Path) -> list[dict]:
    cells = [Cell(comfy, model, setting, CAPTIONS, folder) for model in models for setting in model.settings]
    bar = tqdm(list(product(cells, SPEEDS)), unit="batch")
    return [picture for cell, speed in bar for picture in pictures_of(cell, speed)]


def correlation(pictures: list[dict]) -> float:
    """How well the order of risks is that of the errors: 1 if it is the same."""
    return round(float(spearmanr([p["risk"] for p in pictures], [-p["psnr"] for p in pictures]).statistic), 3)


def called(word: str, pictures: list[dict]) -> dict:
    """Decibels of the pictures that a run calls so."""
    psnr = [p["psnr"] for p in pictures if closeness_of(p["risk"]) == word]
    mean, tenth = (round(float(f), 1) for f in (np.mean(psnr), np.percentile(psnr, 10)))
    shares = {f"from_{least}_dB": round(float(np.mean(np.array(psnr) >= least)), 3) for least in LEAST}
    return {"pictures": len(psnr), "psnr_mean": mean, "psnr_p10": tenth, **shares}


def told(pictures: list[dict]) -> dict:
    """What the pictures say together; risks of 0 have no logarithm and stay out of the line."""
    known = [p for p in pictures if p["risk"] > 0]
    slope, start = np.polyfit([20 * math.log10(p["risk"]) for p in known], [p["psnr"] for p in known], 1)
    names = dict.fromkeys(p["model"] for p in pictures)
    return {
        "pictures": len(pictures),
        "rank_correlation": correlation(pictures),
        "of_each_model": {name: correlation([p for p in pictures if p["model"] == name]) for name in names},
        "words": {word: called(word, pictures) for word in (*CLOSENESS, VISIBLE)},
        "decibels": {"at_risk_1": round(float(start), 2), "per_10_dB_of_risk": round(float(10 * slope), 2)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", choices=[m.name for m in MODELS], help="only this one (repeatable)")
    parser.add_argument("--words", action="store_true", help="measure nothing, sum up the committed pictures")
    options = parser.parse_args()
    if options.words:
        return write(json.loads(RESULTS.read_text(encoding="utf-8"))["pictures_of"])
    models = tuple(m for m in MODELS if m.name in (options.model or [m.name]))
    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        comfy = inprocess.start(Path(running_host().comfy), base_directory(Path(folder)))
        pictures = measure(comfy, models, Path(folder))
    print(json.dumps(told(pictures), indent=1))
    print(f"{time.perf_counter() - begin:.0f} s")
    if not options.model:
        write(pictures)


def write(pictures: list[dict]) -> None:
    found = {**told(pictures), "pictures_of": pictures}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {RESULTS}")


if __name__ == "__main__":
    main()
