"""The forecast presets wherever people sample, all trained models: ``make bench-settings``.

Every cell is one model under one setting at one speed: the forecast method, the paper's rule steered to the calls that
it computed for each image, and the same sampler with fewer steps, each against the full run.  Writes
tools/bench/results/settings.json and the tables of docs/settings.md; ``--page`` makes the tables again, and ``--quick``
only shows that all this runs.
"""

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import bench
import numpy as np
from bench import put, table
from cells import TITLES, Cell, Model, Setting, together

from dicache_core.quality import LARGEST_PSNR

PAGE = bench.DOCS / "settings.md"
JUDGED = "8-15,24-31"  # images of the table: captions 8 to 15 with two noises each; it was tuned on captions 0-7
MORE = "40-47,56-63,72-79,88-95"  # the same captions with four other noises, where JUDGED leave open who is first
QUICK = ("flux", "euler12", "2x")
OTHERS = ("paper", "fewer")
BELOW = 0.25  # calls that the paper's rule may compute less than the forecast method, on average
TRIES = 3
FEWEST_COMPUTED = 2  # the first call and the last
UNDECIDED = 2.0  # standard errors of a lead: within them either way may be the better one
TENTH = 1.0  # decibels that the 10th percentile may be below the paper's

GROUPS = PLAIN, LARGER, TWO, MULTI, GUIDANCE, NOISE, SHORT, FEW = (
    "plain", "larger images", "two-call samplers", "multistep samplers", "guidance", "noise", "short", "few",
)  # fmt: skip
COMMON = (
    Setting("euler30", PLAIN, 30), Setting("euler50", PLAIN, 50), Setting("beta30", PLAIN, 30, scheduler="beta"),
    Setting("quadratic30", PLAIN, 30, scheduler="linear_quadratic"), Setting("image30", PLAIN, 30, denoise=0.6),
    Setting("large20", LARGER, 20, scale=1.5), Setting("double20", LARGER, 20, scale=2.0),
    Setting("heun16", TWO, 16, "heun"), Setting("dpm2_16", TWO, 16, "dpm_2"),
    Setting("2m_sgm24", MULTI, 24, "dpmpp_2m", "sgm_uniform"), Setting("2m_beta30", MULTI, 30, "dpmpp_2m", "beta"),
    Setting("unipc20", MULTI, 20, "uni_pc"), Setting("res20", MULTI, 20, "res_multistep"),
    Setting("ipndm20", MULTI, 20, "ipndm"), Setting("cfg30", GUIDANCE, 30, guided=True),
    Setting("ancestral30", NOISE, 30, "euler_ancestral"), Setting("er_sde30", NOISE, 30, "er_sde"),
    Setting("2m_sde30", NOISE, 30, "dpmpp_2m_sde"), Setting("lcm12", NOISE, 12, "lcm"), Setting("euler12", SHORT, 12),
    Setting("2m_9", SHORT, 9, "dpmpp_2m"), Setting("euler8", FEW, 8),
)  # fmt: skip
SHIFTED = (*COMMON, Setting("shift30", PLAIN, 30, shifted=True))
KARRAS = (*COMMON, Setting("karras24", MULTI, 24, "dpmpp_2m", "karras"))
REFLOWED = (
    Setting("euler4", FEW, 4), Setting("euler6", FEW, 6), Setting("euler8", FEW, 8),
    Setting("beta8", FEW, 8, scheduler="beta"), Setting("quadratic8", FEW, 8, scheduler="linear_quadratic"),
    Setting("shift8", FEW, 8, shifted=True), Setting("image8", FEW, 8, denoise=0.6),
    Setting("large8", FEW, 8, scale=1.5), Setting("double8", FEW, 8, scale=2.0),
    Setting("2m_sgm8", FEW, 8, "dpmpp_2m", "sgm_uniform"), Setting("unipc8", FEW, 8, "uni_pc"),
    Setting("res8", FEW, 8, "res_multistep"), Setting("heun5", FEW, 5, "heun"),
)  # fmt: skip
CONSISTENT = (
    Setting("lcm4", FEW, 4, "lcm"), Setting("lcm6", FEW, 6, "lcm"), Setting("lcm8", FEW, 8, "lcm"),
    Setting("lcm_sgm8", FEW, 8, "lcm", "sgm_uniform"), Setting("lcm_beta8", FEW, 8, "lcm", "beta"),
    Setting("lcm_shift8", FEW, 8, "lcm", shifted=True), Setting("lcm_image8", FEW, 8, "lcm", denoise=0.6),
    Setting("lcm_large8", FEW, 8, "lcm", scale=1.5),
    Setting("lcm_double8", FEW, 8, "lcm", scale=2.0), Setting("euler4", FEW, 4), Setting("euler8", FEW, 8),
    Setting("ancestral8", FEW, 8, "euler_ancestral"), Setting("2m_sgm8", FEW, 8, "dpmpp_2m", "sgm_uniform"),
)  # fmt: skip


def largest(scale: float) -> Setting:
    """At the largest edge of a model that a cell of the table takes a minute or two for: of Flux the trained one."""
    return Setting("largest20", LARGER, 20, scale=scale)


@dataclass(frozen=True)
class Checkpoint:
    """A model and its settings, at sizes that let the whole table fit into an hour on two cores.

    Attributes:
        tuned: whether the method was tuned on it (with other captions than the table's).
        targets: speeds asked for; of a distilled model 3x is a lot.
        outer: whether the paper's rule runs a good part of the model on calls that it skips, a U-Net's outermost
            blocks, so that it is held against the same work too.
    """

    model: Model
    settings: tuple[Setting, ...]
    tuned: bool = False
    targets: tuple[str, ...] = ("2x", "3x")
    outer: bool = False


CHECKPOINTS = {
    checkpoint.model.name: checkpoint
    for checkpoint in (
        Checkpoint(Model("flux", 12, guided=2.5, shift=1.8), (*SHIFTED, largest(8 / 3)), tuned=True),
        Checkpoint(Model("hunyuan_video", 8, 3, guided=2.5, shift=3.0), (*SHIFTED, largest(2.5)), tuned=True),
        Checkpoint(Model("wan", 8, 3, guided=5.0, shift=3.0), (*SHIFTED, largest(2.5)), tuned=True),
        Checkpoint(Model("qwen_image", 12, guided=4.0, shift=2.2), (*SHIFTED, largest(8 / 3)), tuned=True),
        Checkpoint(Model("z_image", 12, guided=2.5, shift=6.0), (*SHIFTED, largest(8 / 3)), tuned=True),
        Checkpoint(Model("unet", 8, guided=6.0), (*KARRAS, largest(3.0)), tuned=True, outer=True),
        Checkpoint(Model("flux_reflow", 16, shift=1.8), REFLOWED, tuned=True, targets=("1.5x", "2x", "3x")),
        Checkpoint(Model("flux_lcm", 16, shift=1.8), CONSISTENT, targets=("1.5x", "2x", "3x")),
    )
}


@dataclass(frozen=True)
class Place:
    """A row of the table: a model under a setting, for ``images`` in spans: ``"8-15,24-31"``, or ``"4"``, the first."""

    model: str
    setting: Setting
    target: str
    images: str = JUDGED
    alone: bool = False  # neither the paper's rule nor fewer steps

    @property
    def checkpoint(self) -> Checkpoint:
        return CHECKPOINTS[self.model]


@lru_cache(len(f"{JUDGED},{MORE}".split(",")))
def cell_of(model: Model, setting: Setting, span: str) -> "Steered":
    """The targets of a setting share their full runs."""
    first, _, last = span.rpartition("-")
    return Steered(bench.host(), model, setting, range(int(first or 0), int(last) + bool(first)))


def cells_of(model: Model, setting: Setting, images: str) -> list["Steered"]:
    """One for each span of images."""
    return [cell_of(model, setting, span) for span in images.split(",")]


@dataclass
class Steered(Cell):
    """A cell, and the ways to sample it with about as many calls as the forecast method computed."""

    known: dict[tuple, dict] = field(default_factory=dict)

    def once(self, *key: object, run: Callable[[], dict]) -> dict:
        if key not in self.known:
            self.known[key] = run()
        return self.known[key]

    def own(self, target: str) -> dict:
        return self.cached(self.core.presets.own_config(target, self.architecture))

    def at(self, own: dict, way: Callable[[float], dict]) -> dict:
        """Each image's decibels at its own number of calls; with all of them any way is the full run."""
        total = self.reference[1]
        full = {"calls": total, "psnr": [LARGEST_PSNR] * len(self.images)}
        rows = {calls: full if calls >= total else way(calls) for calls in sorted(set(own["each"]))}
        chosen = [rows[calls] for calls in own["each"]]
        psnr = [row["psnr"][i] for i, row in enumerate(chosen)]
        return {"calls": float(np.mean([row["calls"] for row in chosen])), "psnr": psnr}

    def paper_at(self, calls: float) -> dict:
        """The paper's rule, steered to as many computed calls; one step more where it would stay below."""
        steps, row = max(1, round(calls * self.setting.steps / self.reference[1])), {}
        for more in range(TRIES):
            row = self.once("paper", steps + more, run=lambda n=steps + more: self.cached(self.counted("dicache", n)))
            if row["calls"] >= calls - BELOW:
                break
        return row

    def fewer_at(self, calls: float) -> dict:
        """The same sampler with the number of steps whose calls are nearest; in doubt the larger one."""
        twice = self.reference[1] > self.setting.steps
        steps = min(range(self.setting.steps, 0, -1), key=lambda n: abs((2 * n - 1 if twice else n) - calls))
        return self.once("fewer", steps, run=lambda: self.fewer(steps))

    def paper_at_work(self, own: dict) -> dict | None:
        """The paper's rule, for each image with as much work in all as the forecast method's calls.

        ``None`` where what it runs on every call is more than that by itself.
        """
        calls, share = self.reference[1], self.skip_share
        spent = {each: (each - calls * share) / (1 - share) for each in own["each"]}
        fewest = min(spent.values())
        return None if fewest < FEWEST_COMPUTED else self.at(own, lambda each: self.paper_at(spent[each]))

    @cached_property
    def skip_share(self) -> float:
        """Work of a call that the paper's rule skips against one that it computes: operations of convolutions,
        matrix products and attention."""
        from torch.utils.flop_counter import FlopCounterMode

        config = replace(self.counted("dicache", FEWEST_COMPUTED), target="", threshold=10.0, warmup_steps=1)
        runs, worked = [], []
        for model in (self.patcher(), self.comfy.pack.model_patchers.attach(self.patcher(), config, runs=runs)):
            with FlopCounterMode(display=False) as counted:
                self.sample(model)
            worked.append(counted.get_total_flops())
        skipped = sum(all(d.reuse for d in passed.decisions) for passed in runs[-1].passes)
        return 1 - (1 - worked[1] / worked[0]) * len(runs[-1].passes) / skipped

    def counted(self, policy: str, steps: int) -> object:
        """Settings of a policy by name that computes so many steps."""
        policy = replace(self.core.policies.POLICIES[policy], target=str(steps))
        return self.settings_of(policy, "published")


def row_of(place: Place) -> dict:
    """A line of the table, with MORE images where the first ones leave open who is first."""
    row = _row_of(place, place.images)
    more = place.images == JUDGED and not place.alone and undecided(list(row["lead"].values()))
    return _row_of(place, f"{JUDGED},{MORE}") if more else row


def _row_of(place: Place, images: str) -> dict:
    checkpoint, setting = place.checkpoint, place.setting
    cells = cells_of(checkpoint.model, setting, images)
    total = cells[0].reference[1]
    row = {"model": place.model, "setting": setting.name, "group": setting.group, "target": place.target}
    row |= {"calls": total, "tuned": checkpoint.tuned}
    own = [cell.own(place.target) for cell in cells]
    ways = {"own": own}
    if not place.alone:
        ways |= {
            name: [cell.at(found, getattr(cell, f"{name}_at")) for cell, found in zip(cells, own, strict=True)]
            for name in OTHERS
        }
        if checkpoint.outer:
            row["skip_share"] = round(cells[0].skip_share, 3)
            work = [cell.paper_at_work(found) for cell, found in zip(cells, own, strict=True)]
            ways |= {"work": work} if all(work) else {}
    found = {name: together(rows, digits=2) for name, rows in ways.items()}
    row["pictures"] = len(found["own"]["psnr"])
    if not place.alone:
        row["lead"] = {name: lead(found["own"], found[name]) for name in OTHERS}
    return row | {name: summary(rows, total) for name, rows in found.items()}


def lead(own: dict, other: dict) -> dict:
    """Decibels that the forecast method is ahead, image by image: their mean and its standard error."""
    ahead = np.subtract(own["psnr"], other["psnr"])
    error = float(np.std(ahead, ddof=1) / len(ahead) ** 0.5) if len(ahead) > 1 else 0.0
    return {"mean": round(float(np.mean(ahead)), 2), "error": round(error, 2)}


def undecided(leads: Sequence[dict]) -> bool:
    """Whether chance may have decided who is first: by the lead over the best of the other ways."""
    least = min(leads, key=lambda found: found["mean"])
    return abs(least["mean"]) < UNDECIDED * least["error"]


def summary(row: dict, total: float) -> dict:
    """Columns of one way to sample."""
    return {
        "calls": round(row["calls"], 2),
        "speed": round(total / row["calls"], 2),
        "psnr_mean": round(float(np.mean(row["psnr"])), 2),
        "psnr_p10": round(float(np.percentile(row["psnr"], 10)), 2),
        "psnr_worst": round(min(row["psnr"]), 2),
    }


# The page


def in_order(rows: Sequence[dict]) -> list[dict]:
    """Rows as the table has them: by model, setting and speed."""
    places = [(name, setting.name) for name, checkpoint in CHECKPOINTS.items() for setting in checkpoint.settings]
    return sorted(rows, key=lambda row: (places.index((row["model"], row["setting"])), row["target"]))


def publish(rows: Sequence[dict]) -> None:
    put(PAGE, settings=markdown(rows))


def markdown(rows: Sequence[dict]) -> str:
    """Everything between the markers."""
    parts = [*_missing(rows), "## Verdict", verdict(rows), groups(rows), "## Where it is behind", losses(rows)]
    for model in dict.fromkeys(row["model"] for row in rows):
        how = "tuned on, with other captions" if CHECKPOINTS[model].tuned else "judged only"
        parts += [f"## {TITLES[model]} ({how})", rows_of([row for row in rows if row["model"] == model])]
    return "\n\n".join(parts)


def _missing(rows: Sequence[dict]) -> Iterator[str]:
    """Names what was not measured, so that a part of the table does not look like all of it."""
    measured = {(row["model"], row["setting"]) for row in rows}
    told = []
    for name, checkpoint in CHECKPOINTS.items():
        missing = [s.name for s in checkpoint.settings if (name, s.name) not in measured]
        whole = len(missing) == len(checkpoint.settings)
        told += [TITLES[name] if whole else f"{TITLES[name]} ({', '.join(missing)})"] if missing else []
    if told:
        yield f"**Not measured yet**: {', '.join(told)}."


def behind(row: dict, others: Sequence[str] = OTHERS) -> float:
    """Decibels that the forecast method's mean is behind the better of the others; 0 where it is first."""
    return max(0.0, *(row[way]["psnr_mean"] - row["own"]["psnr_mean"] for way in others if way in row))


def behind_at_work(row: dict) -> float:
    """The same, the paper's rule with as much work where a call that it skips is dear."""
    return behind(row, ("work", "fewer") if "skip_share" in row else OTHERS)


def verdict(rows: Sequence[dict]) -> str:
    lost = [row for row in rows if behind(row)]
    full = [row for row in rows if row["own"]["calls"] >= row["calls"] - 1e-6]
    tenth = [row for row in rows if row["own"]["psnr_p10"] < row["paper"]["psnr_p10"] - TENTH]
    first, skipped, worst = len(rows) - len(lost), len(rows) - len(full), max(behind(row) for row in rows)
    most = max(row["pictures"] for row in rows)
    more = sum(row["pictures"] == most for row in rows)
    lines = [
        f"The forecast method is first in {first} of {len(rows)} cells ({first / len(rows):.1%}).",
        f"In {len(full)} of them it computed every evaluation: nothing is faster and nothing lost.",
        f"Of the other {skipped} it is first in {skipped - len(lost)}.",
        f"Where it is not first it is behind by up to {worst:.1f} dB. {more} cells have {most} images.",
        f"The 10th percentile is more than {TENTH:.0f} dB below the paper's in {len(tenth)}.",
        *_larger(rows),
    ]
    dear = {row["model"]: row["skip_share"] for row in rows if "skip_share" in row}
    if dear:  # what the paper's rule costs where it runs a good part of the model on calls that it skips
        told = ", ".join(f"{TITLES[model]} {share:.0%}" for model, share in dear.items())
        first = sum(not behind_at_work(row) for row in rows)
        lines += [
            "",
            "The same number of computed evaluations is not always the same work. A skipped one of the paper's rule",
            f'still takes a part of a computed one ({told}, its outermost blocks). Column "paper, same work" compares',
            'at equal work ("-" where those blocks alone take more).',
            f"There the forecast method is first in {first} of {len(rows)} cells ({first / len(rows):.1%}).",
        ]
    return "\n".join(lines)


def _larger(rows: Sequence[dict]) -> Iterator[str]:
    """How often it is first where the image is larger than the model's size in the other rows."""
    scales = {(name, s.name): s.scale for name, checkpoint in CHECKPOINTS.items() for s in checkpoint.settings}
    mine = [row for row in rows if scales[row["model"], row["setting"]] > 1]
    if mine:
        first = sum(not behind(row) for row in mine)
        yield f"At larger sizes it is first in {first} of {len(mine)} cells ({first / len(mine):.1%})."


def groups(rows: Sequence[dict]) -> str:
    def mean(rows: Sequence[dict], way: str) -> str:
        decibels, speeds = zip(*((row[way]["psnr_mean"], row[way]["speed"]) for row in rows), strict=True)
        return f"{statistics.fmean(decibels):.1f} ({statistics.fmean(speeds):.2f}x)"

    of_group = {group: [row for row in rows if row["group"] == group] for group in GROUPS}
    lines = [
        (group, len(mine), sum(not behind(row) for row in mine), *(mean(mine, way) for way in ("own", *OTHERS)))
        for group, mine in of_group.items()
        if mine
    ]
    shown = table(("group", "cells", "first", "forecast", "paper", "fewer"), lines)
    return f"Means of the cells' means; in brackets the mean speed in evaluations:\n\n{shown}"


def losses(rows: Sequence[dict]) -> str:
    lines = []
    for row in sorted(rows, key=behind, reverse=True):
        tenth = row["paper"]["psnr_p10"] - row["own"]["psnr_p10"]
        best = max(OTHERS, key=lambda way: row[way]["psnr_mean"])
        winner = {"paper": "the paper's rule", "fewer": "fewer steps"}[best]
        told = [f"{behind(row):.1f} (+-{row['lead'][best]['error']:.1f}) dB behind {winner}"] if behind(row) else []
        told += [f"10th percentile {tenth:.1f} dB below the paper's"] if tenth > TENTH else []
        if told:
            lines.append(f"- {TITLES[row['model']]}, {row['setting']}, {row['target']}: {', '.join(told)}")
    return "\n".join(lines) or "Nowhere."


def rows_of(rows: Sequence[dict]) -> str:
    """The table of one model."""
    work = {"work": "paper, same work"} if any("skip_share" in row for row in rows) else {}
    ways = {"own": "forecast", "paper": "paper", **work, "fewer": "fewer"}
    settings = {setting.name: setting for setting in CHECKPOINTS[rows[0]["model"]].settings}

    def cell(row: dict, way: str) -> str:
        if way not in row:
            return "-"
        best = way != "work" and row[way]["psnr_mean"] == max(row[name]["psnr_mean"] for name in ("own", *OTHERS))
        mean = f"**{row[way]['psnr_mean']:.1f}**" if best else f"{row[way]['psnr_mean']:.1f}"
        return f"{mean} ({row[way]['psnr_p10']:.1f}, {row[way]['psnr_worst']:.1f}) [{row[way]['calls']:g}]"

    lines = []
    for row in rows:
        sampling = f"{described(settings[row['setting']])}, {row['pictures']} images"
        lines.append((row["setting"], sampling, row["target"], *(cell(row, way) for way in ways)))
    return table(("setting", "sampling", "speed", *ways.values()), lines)


def described(setting: Setting) -> str:
    """In the words of a sampler node."""
    extras = [
        ("denoise 0.6", setting.denoise != 1), ("another cfg", setting.guided), ("another shift", setting.shifted),
        (f"{setting.scale:.2g} times the edge", setting.scale != 1),
    ]  # fmt: skip
    words = [f"{setting.sampler}, {setting.scheduler}, {setting.steps} steps", *(text for text, on in extras if on)]
    return ", ".join(words)


def main() -> None:
    parser = bench.parser(__doc__, jobs=2)
    parser.add_argument("--model", action="append", choices=CHECKPOINTS, help="only this one (repeatable)")
    parser.add_argument("--setting", action="append", help="only this one (repeatable): euler30, 2m_9, ...")
    parser.add_argument("--target", action="append", help="speed, in place of 2x and 3x (repeatable)")
    parser.add_argument("--images", default=JUDGED, help="8-15, or a number: so many from the first; writes nothing")
    parser.add_argument("--own-only", action="store_true", help="neither the paper's rule nor fewer steps")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the tables of docs/settings.md")
    options = parser.parse_args()
    if options.page:
        return publish(bench.results("settings.json")["rows"])
    if options.quick:
        options.model, options.setting, options.target = ([name] for name in QUICK)
        options.images = "1"
    places = [
        Place(name, setting, target, options.images, options.own_only)
        for name, checkpoint in CHECKPOINTS.items()
        for setting in checkpoint.settings
        for target in options.target or checkpoint.targets
        if name in (options.model or CHECKPOINTS) and setting.name in (options.setting or [setting.name])
    ]
    if not places:
        parser.error(f"no chosen model has such a setting: known are {', '.join(s.name for s in SHIFTED)}, ...")
    rows = bench.measured(row_of, places, options.jobs, options.quick)
    for row in rows:
        ways = {way: row[way] for way in ("own", "work", *OTHERS) if way in row}
        told = "  ".join(f"{name} [{way['calls']:4.1f}] {way['psnr_mean']:5.1f}" for name, way in ways.items())
        print(f"{row['model']:13} {row['setting']:12} {row['target']:4} of {row['calls']:2.0f}  {told}")
    if options.quick:
        bench.write("settings.json", {"pictures": options.images, "rows": rows}, quick=True)
    elif options.images == JUDGED and not options.own_only:
        rows = in_order(bench.merged(bench.results("settings.json")["rows"], rows, "model", "setting", "target"))
        bench.write("settings.json", {"pictures": options.images, "rows": rows})
        publish(rows)


if __name__ == "__main__":
    main()
