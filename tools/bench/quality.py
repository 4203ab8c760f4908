"""Quality against computed steps, all policies on the six testbed models: ``make bench-quality``.

Real sampling through the host: 30 euler steps, every policy at about 50%, 40% and 33% computed steps, against the
uncached run of the same seed.  With ``--architecture``, ``--policy`` or ``--level`` the new rows take the place of
their like, and all others stay.  ``--tables`` only makes the tables and the plots again from
tools/bench/results/quality.json, and ``--quick`` only shows that all this runs.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any

import bench
import numpy as np
import torch
from bench import put, table
from cells import TITLES, Cell, Model, Setting, together
from testbed import conditioning as testbed

from dicache_core.methods.indicators import indicator_class
from dicache_core.policies import NAMED
from dicache_core.policies import title as policy_title

PAGE = bench.DOCS / "quality.md"
STEPS, LEVELS = 30, (15, 12, 10)  # computed of them
PROBED = 4  # captions that thresholds are found on
CLOSE = 0.34  # computed steps on average that a found threshold may be off
TRIES = 7  # runs for finding one
LEFT_OUT = ("step_mask",)  # whatever mask one writes
HOST_NODES = {"comfyui_easycache": "EasyCacheNode", "comfyui_lazycache": "LazyCacheNode"}
FEWER = "fewer_steps"
# Some smaller than their checkpoint's own, so that the whole table fits in half an hour on two cores.
MODELS = {
    model.name: model
    for model in (
        Model("flux", 20), Model("hunyuan_video", 12, 3), Model("wan", 8, 3), Model("z_image"), Model("qwen_image"),
        Model("unet"),
    )
}  # fmt: skip

OWN = "forecast"  # of the presets fidelity, balanced and fast
KNOWN = [name for name, row in NAMED.items() if row.group.published]  # the methods of others, but DiCache
NAMES = {
    FEWER: "simply fewer steps",
    "comfyui_easycache": "ComfyUI's EasyCache node",
    "comfyui_lazycache": "ComfyUI's LazyCache node",
    OWN: "**forecast method**",
}
CHOICES = {  # what a user would choose from; the best of the known methods stands between
    OWN: "**`balanced`, `fast`**",
    FEWER: "simply fewer steps",
    "dicache": "DiCache, the paper's rule",
    "comfyui_easycache": "ComfyUI's EasyCache",
}
SHORT = (15, 10)  # in the README
# What the forecast method is compared with, and by how many decibels it should be ahead.
WANTED = {"dicache": 6.0, "comfyui_easycache": 4.0, "comfyui_lazycache": 4.0, FEWER: 0.0}
MEAN, TENTH = "psnr_mean", "psnr_p10"
VALUES = {MEAN: "mean", TENTH: "10th percentile"}
HALF = 0.5  # of a step: what a count may be off without a word
ONE_SEED = 16  # captions

Rows = Sequence[dict]
Place = tuple[str, int]  # model, level


@dataclass(frozen=True)
class Question:
    """One policy on one model at some levels, which share what is known of its threshold."""

    architecture: str
    policy: str
    levels: tuple[int, ...]
    captions: int
    seeds: int
    steps: int = STEPS

    def cells(self, captions: int, seeds: int) -> list[Cell]:
        """All captions in one batch; the host's own caches decide for a whole batch, and in bfloat16: docs/quality.md.

        There each caption is sampled alone.
        """
        alone = self.policy in HOST_NODES
        batches = [(i,) for i in range(captions)] if alone else [tuple(range(captions))]
        dtype = torch.bfloat16 if alone else torch.float32
        return [cell_of(self.architecture, self.steps, i, seed, dtype) for seed in range(seeds) for i in batches]


@cache
def cell_of(architecture: str, steps: int, images: tuple[int, ...], seed: int, dtype: torch.dtype) -> Cell:
    """Policies share their full runs."""
    return Cell(bench.host(), MODELS[architecture], Setting("", "", steps), images, seed, dtype)


def applies(cell: Cell, name: str) -> bool:
    """Whether a policy says something of this model that another one does not."""
    if name == "deepcache":  # elsewhere it is fixed_interval
        return cell.family.unet
    if name == "fastercache":  # needs a pair of streams, and blocks that can be given one of them
        return testbed.SHAPES[cell.model.name].cfg > 1 and bool(cell.family.batched)
    policies = cell.core.policies.POLICIES
    if name in policies and policies[name].in_parts:  # they take no number of computed steps
        return False
    if name not in policies or not indicator_class(policies[name].indicator).wants_modulated:
        return True
    return cell.family.modulated is not None


def rows_of(asked: Question) -> list[dict]:
    """A row for each level; none where a policy skips nothing, however loose it is."""
    cells, few = asked.cells(asked.captions, asked.seeds), asked.cells(min(PROBED, asked.captions), 1)
    if not applies(cells[0], asked.policy):
        return []
    run = runner(asked.policy, few)
    rows = [row_of(asked, level, cells, *run(level)) for level in asked.levels]
    return [row for row in rows if row["computed_steps"] < STEPS]


Run = Callable[[Cell], dict]


def runner(name: str, few: Sequence[Cell]) -> Callable[[int], tuple[Run, float | None]]:
    """What samples a cell with so many computed steps, and the threshold that does it where there is one."""
    if name == FEWER:
        return lambda level: (lambda cell: cell.fewer(level), None)
    if name in HOST_NODES:
        matcher = Matcher(lambda t: float(np.mean([by_host(cell, name, t)[1] for cell in few])), 0.1)

        def by_node(level: int) -> tuple[Run, float]:
            threshold = matcher.threshold(level)
            return (lambda cell: cell.judged(*by_host(cell, name, threshold))), threshold

        return by_node
    cell, core = few[0], few[0].core
    policy = policy_for(cell, name)
    config = core.resolve(cell.architecture, policy=policy)
    # Where no threshold was published users get a target, and so does the table.
    if policy.limited_by != "threshold" or config.target:
        return lambda level: (lambda cell: cell.cached(replace(config, target=str(level))), None)
    matcher = Matcher(lambda t: float(np.mean(cell.run(replace(config, threshold=t))[1])), config.threshold)

    def by_threshold(level: int) -> tuple[Run, float]:
        threshold = matcher.threshold(level)
        return (lambda cell: cell.cached(replace(config, threshold=threshold))), threshold

    return by_threshold


def by_host(cell: Cell, name: str, threshold: float) -> tuple[torch.Tensor, float]:
    """Latents under the host's own cache, and how often the last block ran."""
    node = getattr(cell.comfy.module("comfy_extras.nodes_easycache"), HOST_NODES[name])
    model, passes = node.execute(cell.patcher(), threshold, 0.15, 0.95, False).result[0], []
    last = cell.network.out if cell.family.unet else cell.family.blocks(cell.network)[-1].module
    handle = last.register_forward_hook(lambda *_: passes.append(None))
    try:
        return cell.sample(model)[0], float(len(passes))
    finally:
        handle.remove()


def policy_for(cell: Cell, name: str) -> Any:
    """A policy by name; a calibrated one with what one full run of the first captions recorded."""
    policy = cell.core.policies.POLICIES[name]
    return replace(policy, calibration=calibrated(cell)) if policy.calibrated else policy


def calibrated(cell: Cell) -> Any:
    """The calibration of the calibrated methods, from one full run of the first captions."""
    return cell.core.calibration.calibration_of(cell.run(cell.core.calibration.recording_config())[2])


def row_of(asked: Question, level: int, cells: Sequence[Cell], run: Run, threshold: float | None) -> dict:
    from skimage.metrics import structural_similarity

    rows = [run(cell) for cell in cells]
    found = together(rows)
    pairs = [
        pair
        for cell, row in zip(cells, rows, strict=True)
        for pair in zip(cell.decoded(row["samples"]).numpy(), cell.reference[0].numpy(), strict=True)
    ]
    ssim = np.mean([structural_similarity(a, b, channel_axis=-1, data_range=1.0) for a, b in pairs])
    row = {
        "architecture": asked.architecture,
        "policy": asked.policy,
        "computed_steps": round(found["calls"], 2),
        "psnr_mean": round(float(np.mean(found["psnr"])), 2),
        "psnr_p10": round(float(np.percentile(found["psnr"], 10)), 2),
        "ssim_mean": round(float(ssim), 4),
        "level": level,
        "threshold": None if threshold is None else float(f"{threshold:.4g}"),
        "samples": len(found["psnr"]),
    }
    print(f"{asked.architecture:14} {asked.policy:24} {row['computed_steps']:5.1f} {row['psnr_mean']:6.2f} dB")
    return row


class Matcher:
    """Finds the threshold that computes a wanted number of steps on average, from runs on a few captions."""

    def __init__(self, count: Callable[[float], float], first: float) -> None:
        self.count, self.first = count, first
        self.known: dict[float, float] = {}  # log of the threshold -> computed steps

    def threshold(self, wanted: float) -> float:
        def off(x: float) -> float:
            return abs(self.known[x] - wanted)

        for _ in range(TRIES):
            guess = self._guess(wanted)
            if guess in self.known or (self.known and min(map(off, self.known)) <= CLOSE):
                break
            self.known[guess] = self.count(math.exp(guess))
        return math.exp(min(self.known, key=off))

    def _guess(self, wanted: float) -> float:
        """Between the two thresholds around the wanted number, or beyond all of them."""
        above = max((x for x, n in self.known.items() if n > wanted), default=None)  # computes too many
        below = min((x for x, n in self.known.items() if n <= wanted), default=None)
        if above is None:
            return math.log(self.first) if below is None else below - 1.2
        if below is None:
            return above + 1.2
        high, low = self.known[above], self.known[below]
        return above + min(max((high - wanted) / (high - low), 0.2), 0.8) * (below - above)


# The page


def publish(rows: Rows) -> None:
    """Plots beside the results, the tables into the page and the README."""
    from pareto import plot

    for architecture in models_of(rows):
        mine = [row for row in rows if row["architecture"] == architecture]
        plot(mine, TITLES[architecture], OWN, bench.RESULTS / f"pareto-{architecture}.png")
    put(PAGE, quality=page(rows))
    put(bench.README, quality=short_table(rows))


def page(rows: Rows) -> str:
    """Everything between the markers of docs/quality.md."""
    parts = [
        samples_of(rows),
        "## The forecast method and the others\n\n" + verdict(rows),
        "## Mean",
        all_of(rows, MEAN),
    ]
    parts += ["## 10th percentile\n\nOne image in ten is worse than this.", all_of(rows, TENTH), "## Plots"]
    plots = " ".join(f"![{TITLES[a]}](../tools/bench/results/pareto-{a}.png)" for a in models_of(rows))
    return "\n\n".join([*parts, plots])


def samples_of(rows: Rows) -> str:
    """How many images stand behind the rows."""
    counts = {a: sorted({r["samples"] for r in rows if r["architecture"] == a}) for a in models_of(rows)}
    text = "Images per row: " + ", ".join(f"{TITLES[a]} {' or '.join(map(str, n))}" for a, n in counts.items()) + "."
    fewer = [r["policy"] for r in rows if r["samples"] <= ONE_SEED < max(counts[r["architecture"]])]
    if fewer:
        names = ", ".join(f"`{name}`" for name in dict.fromkeys(fewer))
        text += f" Rows of {ONE_SEED} have the first of two seeds only: {names} on some models."
    return text


def all_of(rows: Rows, value: str) -> str:
    """Policies down, models across; in each cell a number per level, and a measured count that could not be matched."""
    found, models = cells(rows), models_of(rows)

    def number(row: dict | None, level: int) -> str:
        if row is None:
            return "-"
        off = abs(row["computed_steps"] - level) > HALF
        return f"{row[value]:.1f} [{row['computed_steps']:.1f}]" if off else f"{row[value]:.1f}"

    lines = []
    for name in sorted({name for _, name, _ in found}, key=lambda n: -standing(found, n)):
        others = name in KNOWN or name in ("dicache", "dicache_delta_minus")  # those developed here stand in bold
        mine = [[number(found.get((a, name, level)), level) for level in LEVELS] for a in models]
        of_models = ["-" if set(cell) == {"-"} else " / ".join(cell) for cell in mine]
        lines.append((NAMES.get(name, name if others else f"**{name}**"), *of_models))
    return table((f"policy, at {' / '.join(map(str, LEVELS))} steps", *(TITLES[a] for a in models)), lines)


def short_table(rows: Rows) -> str:
    """Five rows that a user would choose from."""
    found, models = cells(rows), models_of(rows, OWN)
    everywhere = {r["architecture"] for r in rows if r["policy"] in KNOWN} & set(models)
    known = [n for n in KNOWN if {r["architecture"] for r in rows if r["policy"] == n} >= everywhere]
    best = max(known, key=lambda n: standing(found, n))
    titles = {OWN: CHOICES[OWN], best: f"{policy_title(best)}, best published method in the mean", **CHOICES}

    def numbers(name: str, architecture: str) -> str:
        of_levels = [found.get((architecture, name, level)) for level in SHORT]
        return " / ".join(f"{row[MEAN]:.1f}" if row else "-" for row in of_levels)

    head = (f"PSNR in dB, {' / '.join(map(str, SHORT))} steps", *(TITLES[a] for a in models))
    return table(head, [(title, *(numbers(name, a) for a in models)) for name, title in titles.items()])


def verdict(rows: Rows) -> str:
    """Where the forecast method is ahead, by how much of the best of the known ones, and, plainly, where it is not."""
    found = cells(rows)
    places = [place for place in product(models_of(rows, OWN), LEVELS) if of(found, place, MEAN).keys() & {OWN}]
    parts, against = [], []
    for value, what in VALUES.items():
        ahead = sum(max(of(found, place, value).values()) == of(found, place, value)[OWN] for place in places)
        parts.append(f"the highest {what} in {ahead} of {len(places)} cells")
    for place in places:
        values = of(found, place, MEAN)
        best = max((name for name in values if name in KNOWN), key=values.get, default=None)
        theirs = (f"`{best}`", f"{values[best]:.1f}") if best else ("none measured", "-")
        lead = f"{values[OWN] - values[best]:+.1f}" if best else "-"
        against.append((place_title(place), *theirs, f"{values[OWN]:.1f}", lead))
    behind = [line for place in places for line in _behind(found, place)]
    short = [line for place in places for line in _short_of(found, place)]
    return "\n\n".join(
        [
            f"The forecast method has {' and '.join(parts)}. Against the best published method, cell by cell:",
            table(("cell", "best published method", "mean, dB", "forecast method", "difference"), against),
            "Where another policy is **ahead** of it:" if behind else "No policy is ahead of it anywhere.",
            *(["\n".join(behind)] if behind else []),
            "Where it is ahead by **less than the goal**:" if short else "It reaches the goal against all baselines.",
            *(["\n".join(short)] if short else []),
        ]
    )


def _behind(found: dict, place: Place) -> Iterator[str]:
    for value, what in VALUES.items():
        values = of(found, place, value)
        ahead = {name: v - values[OWN] for name, v in values.items() if round(v - values[OWN], 1) > 0}
        if ahead:
            names = ", ".join(f"`{name}` {ahead[name]:+.1f}" for name in sorted(ahead, key=lambda n: -ahead[n]))
            yield f"- {place_title(place)}, {what}: {names} dB"


def _short_of(found: dict, place: Place) -> Iterator[str]:
    for value, what in VALUES.items():
        values = of(found, place, value)
        for name, wanted in WANTED.items():
            if name in values and 0 <= (ahead := values[OWN] - values[name]) < wanted:
                against = NAMES.get(name, name)
                yield f"- {place_title(place)}, {what}: {ahead:+.1f} dB, goal {wanted:.0f}, against {against}"


def cells(rows: Rows) -> dict[tuple[str, str, int], dict]:
    """By model, policy and level."""
    return {(r["architecture"], r["policy"], r["level"]): r for r in rows}


def of(found: dict, place: Place, value: str) -> dict[str, float]:
    """Policy -> value in one cell."""
    return {name: row[value] for (model, name, level), row in found.items() if (model, level) == place}


def place_title(place: Place) -> str:
    return f"{TITLES[place[0]]}, {place[1]} steps"


def models_of(rows: Rows, policy: str | None = None) -> list[str]:
    """Models that have any row, or one of a policy."""
    measured = {r["architecture"] for r in rows if policy in (None, r["policy"])}
    return [architecture for architecture in MODELS if architecture in measured]


def standing(found: dict, name: str) -> float:
    """Mean distance from the forecast method over the cells that both have: some run on some models only."""
    own = {(a, n): row[MEAN] for (a, policy, n), row in found.items() if policy == OWN and n in LEVELS}
    values = [found[a, name, n][MEAN] - value for (a, n), value in own.items() if (a, name, n) in found]
    return sum(values) / len(values) if values else -math.inf


def main() -> None:
    order = [FEWER, *HOST_NODES, *(name for name in NAMED if name not in LEFT_OUT)]
    parser = bench.parser(__doc__, jobs=2)
    parser.add_argument("--architecture", action="append", choices=MODELS, help="only this one (repeatable)")
    parser.add_argument("--policy", action="append", choices=order, help="only this one (repeatable)")
    parser.add_argument("--level", action="append", type=int, help="only so many computed steps (repeatable)")
    parser.add_argument("--captions", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--tables", action="store_true", help="measure nothing, write tables and plots")
    options = parser.parse_args()
    if options.tables:
        return publish(bench.results("quality.json"))
    if options.quick:
        asked = [Question("flux", name, (6,), captions=1, seeds=1, steps=8) for name in (OWN, FEWER)]
    else:
        levels = tuple(options.level or LEVELS)
        places = product(options.architecture or MODELS, options.policy or order)
        asked = [Question(*place, levels, options.captions, options.seeds) for place in places]
    rows = [row for found in bench.measured(rows_of, asked, options.jobs, options.quick) for row in found]
    if options.quick:
        bench.write("quality.json", rows, quick=True)
        return None
    rows = bench.merged(bench.results("quality.json"), rows, "architecture", "policy", "level")
    rows.sort(key=lambda r: (r["architecture"], order.index(r["policy"]), -r["level"]))
    bench.write("quality.json", rows)
    return publish(rows)


if __name__ == "__main__":
    main()
