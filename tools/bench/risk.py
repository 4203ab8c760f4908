"""Does a run know how close its image is?  ``make bench-risk``.

Per image what the run estimated for it, how far it really was off and the word that it got, for all trained models, at
sizes between toy and trained and under strong guidance too.  The cut-offs of the words were found on some of the cells
and are judged on others: other captions and noises.  Writes tools/bench/results/risk.json and the tables of
docs/closeness.md; ``--words`` only puts the committed images into words anew, and ``--quick`` only shows that all this
runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import bench
import numpy as np
from bench import put, table
from cells import TITLES, Cell, Model, Setting

from dicache_core.quality import LARGEST_PSNR, VISIBLE, closeness_of

PAGE = bench.DOCS / "closeness.md"
LEAST = {"very close": 40, "close": 31}  # decibels that the words stand for
WORDS = (*LEAST, VISIBLE)
CUTOFFS = (0.008, 0.01, 0.012, 0.014, 0.016, 0.018)  # that the page shows
SPEEDS = ("2x", "3x")
QUICK_IMAGES = 3  # of one cell: fewer have no order
# Image ``n`` has caption ``n`` modulo 16, and noise ``n``.
IMAGES = {
    "judged": tuple(caption + 16 * noise for caption in (12, 13, 14, 15) for noise in range(8, 14)),
    "second": tuple(caption + 16 * noise for caption in (8, 9, 10, 11) for noise in range(2, 8)),
    "third": tuple(caption + 16 * noise for caption in range(8) for noise in (14, 15, 16)),
    "first": tuple(caption + 16 * noise for caption in range(8) for noise in (0, 1)),
}
PARTS = {
    "judged": "Judged",
    "second": "Tuned on, second round: sizes between toy and trained, cfg 6 and 10",
    "third": "Tuned on, third round: the second one's cells, captions of the first, other noises",
    "first": "Tuned on, first round: small images, other samplers",
}
HEAD = (
    "model", "images", "very close", "with 40 dB", "below 31 dB", "of all with 40 dB", "close", "with 31 dB",
    "of all with 31 dB",
)  # fmt: skip


@dataclass(frozen=True)
class Question:
    """Some images of a model under a setting at a speed; of ``part`` "judged" nothing was tuned on."""

    part: str
    model: Model
    setting: Setting
    speed: str
    images: tuple[int, ...]


def setting(steps: int, sampler: str = "euler", scheduler: str = "simple") -> Setting:
    short = {"dpmpp_2m": "2m", "uni_pc": "unipc"}.get(sampler, sampler)
    name = {"beta": f"{short}_beta{steps}", "sgm_uniform": f"{short}_sgm{steps}"}.get(scheduler)
    return Setting(name or f"{short}{'_' * (short == '2m')}{steps}", "", steps, sampler, scheduler, guided=True)


EULER20, EULER24, EULER30 = setting(20), setting(24), setting(30)
BETA24, UNIPC20 = setting(24, "dpmpp_2m", "beta"), setting(20, "uni_pc")
SGM25, SIMPLE20 = setting(25, "dpmpp_2m", "sgm_uniform"), setting(20, "dpmpp_2m")
# Model, cells of its latent, cfg (1 where there is no negative prompt); settings of the parts.
CELLS = {
    "judged": (
        (("flux", 24, 1), 1, EULER30, SGM25), (("hunyuan_video", 12, 5), 1, EULER30), (("wan", 8, 5), 3, EULER30),
        (("qwen_image", 12, 1), 2.5, EULER30), (("qwen_image", 8, 1), 6, EULER24), (("z_image", 12, 1), 1, EULER30),
        (("unet", 8, 1), 3, SGM25), (("unet", 8, 1), 6, EULER24),
    ),
    "second": (
        (("flux", 24, 1), 1, EULER30, SGM25), (("hunyuan_video", 12, 5), 1, EULER30, SGM25),
        (("wan", 8, 5), 3, EULER30, SGM25), (("wan", 6, 3), 6, EULER24), (("wan", 6, 3), 10, SIMPLE20),
        (("qwen_image", 12, 1), 2.5, EULER30), (("qwen_image", 8, 1), 6, EULER24),
        (("qwen_image", 8, 1), 10, SIMPLE20), (("z_image", 12, 1), 1, EULER30, SGM25),
        (("unet", 8, 1), 3, EULER30, SGM25), (("unet", 8, 1), 6, EULER24), (("unet", 8, 1), 10, SIMPLE20),
    ),
    "first": (
        (("flux", 16, 1), 1, EULER20, BETA24), (("hunyuan_video", 8, 3), 1, EULER20, BETA24),
        (("wan", 6, 3), 3, BETA24, UNIPC20), (("wan", 6, 3), 6, EULER20), (("wan", 6, 3), 10, BETA24),
        (("qwen_image", 8, 1), 6, EULER20), (("qwen_image", 8, 1), 10, BETA24), (("z_image", 12, 1), 1, EULER20),
        (("unet", 8, 1), 3, EULER20), (("unet", 8, 1), 6, EULER20), (("unet", 8, 1), 10, BETA24),
    ),
}  # fmt: skip
CELLS["third"] = CELLS["second"]
QUESTIONS = [
    Question(part, Model(*size, guided=cfg), chosen, speed, IMAGES[part])
    for part, cells in CELLS.items()
    for size, cfg, *settings in cells
    for chosen in settings
    for speed in SPEEDS
]


@cache
def cell_of(model: Model, setting: Setting, images: tuple[int, ...]) -> Cell:
    """Speeds share their full run."""
    return Cell(bench.host(), model, setting, images)


def images_of(asked: Question) -> list[dict]:
    """Estimate and decibels of each image; of one that is the uncached one nothing is to be told."""
    cell = cell_of(asked.model, asked.setting, asked.images)
    found = cell.cached(cell.core.presets.own_config(asked.speed, asked.model.name))
    about = {
        "model": asked.model.name, "size": [asked.model.frames, asked.model.size, asked.model.size],
        "cfg": asked.model.guided, "setting": asked.setting.name, "speed": asked.speed, "part": asked.part,
    }  # fmt: skip
    rows = []
    for row, (image, psnr) in enumerate(zip(asked.images, found["psnr"], strict=True)):
        risk = float(f"{found['run'].image_errors[row]:.4g}")
        rows.append({**about, "picture": image, "risk": risk, "psnr": round(psnr, 2)})
    return [row for row in rows if row["psnr"] < LARGEST_PSNR]


def correlation(images: Sequence[dict]) -> float:
    """How well the order of estimates is that of the errors (Spearman): 1 if it is the same."""
    from scipy.stats import spearmanr

    return round(float(spearmanr([i["risk"] for i in images], [-i["psnr"] for i in images]).statistic), 3)


def called(word: str, images: Sequence[dict]) -> dict:
    """Of the images called so: decibels, and how many have what the word says; of those that have it: how many get it.

    An image that is close may be called very close.
    """
    psnr = np.array([i["psnr"] for i in images])
    words = np.array([closeness_of(i["risk"]) for i in images])
    mine = psnr[words == word]
    found = {"images": len(mine)}
    if len(mine):
        found |= {"psnr_mean": round(float(mine.mean()), 1), "psnr_worst": round(float(mine.min()), 1)}
    if word not in LEAST:
        return found
    if len(mine):
        found["precision"] = round(float((mine >= LEAST[word]).mean()), 3)
        found["below_31_dB"] = int((mine < LEAST["close"]).sum())
    as_good = np.isin(words[psnr >= LEAST[word]], WORDS[: WORDS.index(word) + 1])
    return found | {"recall": round(float(as_good.mean()), 3) if len(as_good) else None, "recall_of": len(as_good)}


def told(images: list[dict]) -> dict:
    """What the images say together, and per model; ``within`` is the mean of the cells' correlations."""

    def of(images: Sequence[dict]) -> dict:
        of_cells: dict[str, list[dict]] = {}
        for image in images:
            of_cells.setdefault(str([image[key] for key in ("model", "size", "cfg", "setting", "speed")]), []).append(
                image
            )
        within = [correlation(found) for found in of_cells.values() if len(found) > 2]
        return {
            "rank_correlation": correlation(images),
            "rank_correlation_within_cells": round(float(np.mean(within)), 3),
            "words": {word: called(word, images) for word in WORDS},
        }

    names = dict.fromkeys(i["model"] for i in images)
    of_each = {name: of([i for i in images if i["model"] == name]) for name in names}
    return {"images": len(images), **of(images), "of_each_model": of_each}


# The page


def markdown(found: dict) -> str:
    """Everything between the markers: a table of each part, the judged one first, and one of other cut-offs."""
    tables = [f"**{title}**\n\n{words_of(found[part])}" for part, title in PARTS.items()]
    return "\n\n".join([*tables, f"**Other cut-offs for very close**\n\n{other_cutoffs(found['images_of'])}"])


def other_cutoffs(images: Sequence[dict]) -> str:
    """What very close would be worth up to other estimates: on all rounds of tuning, and on the judged images."""
    tuned, judged = ([i for i in images if (i["part"] == "judged") is wanted] for wanted in (False, True))
    what = ("with 40 dB", "worst model", "below 31 dB", "of all with 40 dB")
    head = ("up to", *(f"{name}: {column}" for name in ("tuned", "judged") for column in what))
    return table(head, [(f"{most:g}", *very_close(tuned, most), *very_close(judged, most)) for most in CUTOFFS])


def very_close(images: Sequence[dict], most: float) -> tuple:
    """Of the images up to this estimate: with 40 dB, of the model with the fewest, below 31 dB; of all with 40 dB."""
    mine = [i for i in images if i["risk"] <= most]
    good, far = [i for i in images if i["psnr"] >= LEAST["very close"]], [i for i in mine if i["psnr"] < LEAST["close"]]
    share = {
        name: float(np.mean([i["psnr"] >= LEAST["very close"] for i in mine if i["model"] == name]))
        for name in dict.fromkeys(i["model"] for i in mine)
    }
    worst, both = min(share, key=lambda name: share[name]), sum(i["risk"] <= most for i in good)
    of_mine, of_all = f"{both / len(mine):.0%} of {len(mine)}", f"{both / len(good):.0%}"
    return of_mine, f"{TITLES[worst]} {share[worst]:.0%}", len(far), of_all


def words_of(part: dict) -> str:
    def cells(word: dict) -> list:
        precision = f"{word['precision']:.0%}" if word["images"] else "-"
        recall = "-" if word["recall"] is None else f"{word['recall']:.0%} of {word['recall_of']}"
        return [word["images"], precision, word.get("below_31_dB", 0), recall]

    models = {TITLES[name]: row["words"] for name, row in part["of_each_model"].items()}
    lines = []
    for title, words in {**models, "all": part["words"]}.items():
        close, true, _far, of_all = cells(words["close"])
        images = sum(word["images"] for word in words.values())
        lines.append((title, images, *cells(words["very close"]), close, true, of_all))
    return table(HEAD, lines)


def publish(images: list[dict]) -> None:
    """Every part's figures, the judged ones first, then all images."""
    found = {part: told([i for i in images if i["part"] == part]) for part in PARTS} | {"images_of": images}
    bench.write("risk.json", found)
    put(PAGE, closeness=markdown(found))


def main() -> None:
    parser = bench.parser(__doc__, jobs=2)
    names = sorted({asked.model.name for asked in QUESTIONS})
    parser.add_argument("--model", action="append", choices=names, help="only this one (repeatable); writes nothing")
    parser.add_argument("--words", action="store_true", help="measure nothing, sum up the committed images")
    options = parser.parse_args()
    if options.words:
        return publish(bench.results("risk.json")["images_of"])
    asked = [question for question in QUESTIONS if question.model.name in (options.model or names)]
    if options.quick:
        least = min(asked, key=lambda q: q.model.size * q.model.frames * q.setting.steps)
        asked = [Question(least.part, least.model, least.setting, least.speed, least.images[:QUICK_IMAGES])]
    images = [image for found in bench.measured(images_of, asked, options.jobs, options.quick) for image in found]
    if options.quick:
        bench.write("risk.json", {asked[0].part: told(images), "images_of": images}, quick=True)
    elif options.model:
        print(told(images))
    else:
        publish(images)


if __name__ == "__main__":
    main()
