"""How much is there to win?  ``make bench-oracle``, after ``make bench-settings``.

Cells of the settings bench (docs/settings.md) that the own policy does not win, and short schedules: choices of skipped
calls are sampled, and the best one in hindsight stands beside what the own policy chose and beside fewer steps.  Of
short schedules every choice is tried, of longer ones about twenty.  The first and the last call are always computed.
What the best choice does not win, no plan wins with these forecasts.  The own plan is run once more with the full run's
outputs in place of what its computed calls gave (bench/knowing.py).  Writes bench/results/oracle.json; what stands
there already is not measured again.
"""

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import comb
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

BENCH = Path(__file__).resolve().parent
REPO = BENCH.parent
sys.path.extend([str(BENCH), str(REPO), str(REPO / "tests"), str(REPO / "tests" / "host")])
import inprocess  # noqa: E402
import knowing  # noqa: E402
from layout import base_directory  # noqa: E402
from plans import even_plans, every_choice  # noqa: E402
from provision import running_host  # noqa: E402
from settings import PARTS, RESULTS, cells_of  # noqa: E402
from settings_cells import JUDGED, MODELS, TWO  # noqa: E402
from settings_page import ORACLE, behind  # noqa: E402
from settings_runs import Cell, together  # noqa: E402

SHORT = [(model, "2m_9", 7) for model in ("flux", "hunyuan_video", "wan", "qwen_image", "z_image", "unet")]
SHORT += [("flux_reflow", "quadratic8", 6), ("wan", "euler8", 6)]  # model, setting, computed calls
MOST = 30  # choices that are all sampled; of more, ``even_plans``


@dataclass(frozen=True)
class Question:
    """A cell of the settings bench, by the calls that are computed in it."""

    model: str
    setting: str
    computed: int


def questions(rows: Sequence[dict]) -> list[Question]:
    """The short schedules, and every cell of ``rows`` that fewer steps or the paper's rule win.

    A sampler that calls twice per step is left out: choices are by step.
    """
    lost = [row for row in rows if behind(row) and row["group"] != TWO]
    asked = [Question(*cell) for cell in SHORT]
    # Of some captions all calls may be computed: the question is about the others.
    asked += [Question(r["model"], r["setting"], min(round(r["own"]["calls"]), round(r["calls"]) - 1)) for r in lost]
    return list(dict.fromkeys(asked))


def best_of(cells: Sequence[Cell], computed: int) -> dict:
    """The best choice in hindsight, the own policy's, and fewer steps, all with the same number of computed calls."""
    cell = cells[0]
    core, total = cell.comfy.pack.dicache_core, round(cell.reference[1])
    plans = every_choice(total, computed) if comb(total - 2, computed - 2) <= MOST else even_plans(total, computed)
    config = {"threshold": 1.0, "indicator": "mask", "predictor": "corrected_line", "warmup_steps": 0}
    masks = [",".join(str(int(on)) for on in plan) for plan in plans]

    def mean(way: Callable[[Cell], dict]) -> float:
        return float(np.mean(together([way(cell) for cell in cells])["psnr"]))

    means = {mask: mean(lambda c, mask=mask: c.cached(core.CacheConfig(mask=mask, **config))) for mask in masks}
    best = max(means, key=means.get)
    return {
        "model": cell.model.name,
        "setting": cell.setting.name,
        "computed": computed,
        "calls": total,
        "choices": len(means),
        "best": best,
        "best_psnr": round(means[best], 2),
        "own_psnr": round(mean(lambda c: c.cached(c.own_config(str(computed)))), 2),
        "knowing_psnr": round(mean(lambda c: told_the_truth(c, computed)), 2),
        "fewer_psnr": round(mean(lambda c: c.fewer_at(computed)), 2),
    }


def told_the_truth(cell: Cell, computed: int) -> dict:
    """The own plan, each computed output being the full run's: what remains is the error of the skipped calls."""
    core, total = cell.comfy.pack.dicache_core, round(cell.reference[1])
    config = replace(cell.own_config(str(computed)), predictor=knowing.NAME)
    predictor = knowing.register(core)
    predictor.learning = True
    everything = core.CacheConfig(threshold=1.0, indicator="mask", mask=",".join(["1"] * total), warmup_steps=0)
    cell.cached(replace(everything, predictor=knowing.NAME))
    predictor.learning = False
    return cell.cached(config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=Path, default=PARTS, help="where the settings bench keeps measured cells")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    rows = json.loads(ORACLE.read_text(encoding="utf-8")) if ORACLE.is_file() else []
    answered = {Question(row["model"], row["setting"], row["computed"]) for row in rows}
    asked = [q for q in questions(json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]) if q not in answered]
    options.parts.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        comfy = inprocess.start(Path(running_host().comfy), base_directory(Path(folder)))
        for question in tqdm(asked):
            model = MODELS[question.model]
            setting = model.setting(question.setting)
            cells = cells_of(JUDGED, comfy, model, setting, options.parts)
            rows.append(best_of(cells, question.computed))
            print(json.dumps(rows[-1]), flush=True)
            ORACLE.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
