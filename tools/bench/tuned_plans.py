"""Plans that DiCache Tune finds, against the forecast method's own: ``make bench-plans``.

Each trained model under two settings at 3x.  A case is one search of DiCache Tune, of eight captions from two seeds:
what it chose, a plan or the method's own, is judged on 24 images of captions that no search saw.  What counts is the
mean squared error over these images, in decibels, so that the hard ones decide; beside it the mean of the worst eighth.
A trial's speed is what was asked for: seconds say nothing on models this small.

Where a model does not reach the goal, plans are climbed to on the judged images themselves, which says what the best
plan in hindsight would give.

Writes tools/bench/results/tuned_plans.json and its table of docs/tune.md.  ``--page`` makes the table again, and
``--quick`` only shows that all this runs.
"""

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import bench
from bench import put, table
from cells import TITLES, Setting, pooled
from searched_plans import Plan, climbed
from settings import CHECKPOINTS, Steered, cells_of
from testbed import conditioning as testbed
from testbed.captions import CAPTIONS

PAGE, FILE = bench.DOCS / "tune.md", bench.RESULTS / "tuned_plans.json"
TARGET, SPEED = "3x", 3.0
MODELS = ("flux", "hunyuan_video", "wan", "qwen_image", "z_image", "unet")
SETTINGS = (Setting("euler30", "", 30), Setting("2m_sgm25", "", 25, "dpmpp_2m", "sgm_uniform"))
QUICK = Setting("euler12", "", 12)
SEARCHED = 8  # captions from the first on: prompts of a batch each
BATCH = 4
SEEDS = (900, 910)  # a search each
JUDGED = "8-15,24-31,40-47"  # images: captions 8 to 15 with three noises
TRIES = 24  # plans in hindsight
ROOM = 0.1  # calls that cancelled skips may add to the best of them
CASES, DIFFERENT, BETTER = 0.9, 1 / 3, 1.0  # the goal: shares of the cases, and decibels
DEFAULT = "default"  # in the table, where no plan was taken

Rows = Sequence[dict]


@dataclass(frozen=True)
class Place:
    """A model under a setting.

    Attributes:
        searched, seeds: captions of a search, and a search for each of the seeds.
        tries, starts: how many plans are judged in hindsight, and those of them that are known.
    """

    model: str
    setting: Setting
    searched: int = SEARCHED
    seeds: tuple[int, ...] = SEEDS
    judged: str = JUDGED
    tries: int = 0
    starts: tuple[Plan, ...] = ()

    @property
    def cells(self) -> list[Steered]:
        return cells_of(CHECKPOINTS[self.model].model, self.setting, self.judged)


def measure(place: Place) -> list[dict]:
    """A row for each search; they share what their plans are judged on."""
    judge = Judge(place)
    return [judge.row(seed) for seed in place.seeds]


class Judge:
    """Plans of one place, on its judged images."""

    def __init__(self, place: Place) -> None:
        self.place, self.cells = place, place.cells
        self.core = self.cells[0].core
        self.own = self.judged(self.core.tuning.search.Candidate("forecast", TARGET))

    def row(self, seed: int) -> dict:
        """What a search chose, and what it and the own plan give."""
        result, seconds = tuned(self.cells[0], self.place.searched, seed)
        plans = [trial for trial in result.trials if trial.candidate.plan]
        row = {"model": self.place.model, "setting": self.place.setting.name, "seed": seed}
        row |= {"tried": len(plans), "taken": result.chosen.candidate.label, "seconds": round(seconds, 2)}
        row |= {"full_runs": round(result.full_runs, 2)}
        return row | {"own": self.own, "tuned": self.judged(result.chosen.candidate)}

    def with_plan(self, plan: Plan) -> Any:
        """The setting that computes these calls."""
        schedule = self.schedule
        return self.core.tuning.search.Candidate(
            "forecast", TARGET, self.core.call_plan.CallPlan.of(plan, schedule, schedule.sequences[0]), "plan"
        )

    def judged(self, candidate: Any) -> dict:
        """Columns of a setting; the plan is what most images computed."""
        config = self.core.resolve(self.cells[0].architecture, policy=candidate.made)
        found = [cell.cached(config) for cell in self.cells]
        self.schedule = found[0]["run"].schedule
        plans = [plan for row in found for plan in row["run"].computed_calls().values()]
        calls = fmean(row["calls"] for row in found)
        return summary([value for row in found for value in row["psnr"]], max(plans, key=plans.count), calls)


def summary(psnr: Sequence[float], plan: Plan, calls: float) -> dict:
    """Decibels of the mean squared error, the mean of the worst eighth, and computed calls in the mean."""
    ordered = sorted(psnr)
    worst = fmean(ordered[: math.ceil(len(ordered) / 8)])
    return {
        "pooled": round(pooled(psnr), 2),
        "worst": round(worst, 2),
        "calls": round(calls, 2),
        "plan": " ".join(map(str, plan)),
    }


def plan_of(columns: dict) -> Plan:
    return tuple(map(int, columns["plan"].split()))


def tuned(cell: Steered, captions: int, seed: int) -> tuple[Any, float]:
    """What DiCache Tune finds at the target from these captions, each from two seeds, and the seconds of its search."""
    runs = sys.modules[f"{cell.comfy.pack.__name__}.model_patchers.tuning_runs"]
    search, name = cell.core.tuning.search, cell.model.name
    batches = [CAPTIONS[number : number + BATCH] for number in range(0, captions, BATCH)]
    first, *more = [cell.comfy._conditioning(name, batch) for batch in batches]
    samplings = runs.as_samplings(
        {"samples": testbed.empty_latent(name, BATCH, cell.model.size, cell.model.frames)}, first, seed,
        negative=testbed.conditioning(name, ""), steps=cell.setting.steps, cfg=cell.cfg,
        sampler_name=cell.setting.sampler, scheduler=cell.setting.scheduler,
        **{f"positive_{number}": prompt for number, prompt in enumerate(more, 2)},
    )  # fmt: skip
    progress = runs.Progress(None, samplings, 1)
    similarity = cell.comfy.pack.dicache_nodes.rendering.similarity
    node = runs.Bench([cell.patcher()], samplings, cell.decoded, similarity, progress)

    def as_asked(trial: Any) -> Any:
        return replace(trial, time=1 / float(trial.candidate.target[:-1]))

    def measured(candidate: Any, enough: Any) -> Any:
        return as_asked(node.measure(candidate, lambda trial: enough(as_asked(trial))))

    found = search.search(search.ReachSpeed(SPEED), node.full(), (), measured, node.finder.find)
    if node.finder.no_search is not None:
        raise RuntimeError(f"{name}, {cell.setting.name}: {node.finder.no_search.value}")
    return found, node.finder.seconds


# In hindsight


def hindsight(place: Place) -> dict:
    """A row: the best plan of those that were climbed to on the judged images themselves, from ``place.starts`` on."""
    judge = Judge(place)
    own, found = plan_of(judge.own), {}

    def worth(plan: Plan) -> float:
        found[plan] = judge.own if plan == own else judge.judged(judge.with_plan(plan))
        return found[plan]["pooled"] if found[plan]["calls"] <= judge.own["calls"] + ROOM else 0.0

    best, known = climbed([own, *place.starts], worth, len(own), place.setting.steps, place.tries)
    row = {"model": place.model, "setting": place.setting.name, "tries": len(known)}
    return row | {"own": judge.own, "best": found[best]}


# The page


def gain(row: dict, value: str = "pooled") -> float:
    """Decibels that what Tune chose is ahead of the own plan."""
    return round(row["tuned"][value] - row["own"][value], 2)


def differs(row: dict) -> bool:
    return row["taken"] != TARGET


@dataclass(frozen=True)
class Verdict:
    """Of some cases: how many are at least as good, how many differ, and decibels in the mean of those."""

    cases: int
    kept: int
    different: int
    better: float

    @classmethod
    def of(cls, rows: Rows) -> "Verdict":
        different = [gain(row) for row in rows if differs(row)]
        kept = sum(gain(row) >= 0 for row in rows)
        return cls(len(rows), kept, len(different), fmean(different) if different else 0.0)

    @property
    def reached(self) -> bool:
        often = self.kept >= CASES * self.cases and self.different >= DIFFERENT * self.cases
        return often and self.better >= BETTER

    @property
    def columns(self) -> tuple[str, ...]:
        better = f"{self.better:+.1f} dB" if self.different else ""
        found = f"{self.kept} of {self.cases}", f"{self.different} of {self.cases}", better
        return (*found, "yes" if self.reached else "**no**")


def markdown(found: dict) -> str:
    """Everything between the markers."""
    rows, best = found["rows"], {place_of(row): row for row in found["hindsight"]}
    by_model = {name: [row for row in rows if row["model"] == name] for name in MODELS}
    missing = ", ".join(TITLES[name] for name, mine in by_model.items() if not mine)
    verdicts = {TITLES[name]: Verdict.of(mine) for name, mine in by_model.items() if mine}
    reached = ", ".join(name for name, verdict in verdicts.items() if verdict.reached)
    short = ", ".join(name for name, verdict in verdicts.items() if not verdict.reached)
    worst = [gain(row, "worst") for row in rows if differs(row)]
    by_place: dict[tuple, list[dict]] = {}
    for row in rows:
        by_place.setdefault(place_of(row), []).append(row)
    head = ("model", "at least as good", "another plan", "gain of those", "goal reached")
    shown = ("default plan", "tuned", "worst eighth: default", "tuned", "calls: default", "tuned", "hindsight")
    return "\n\n".join(
        [
            *([f"**Not measured yet**: {missing}."] if missing else []),
            f"The goal: at least as good in {CASES:.0%} of the cases, another plan than the default in a third of "
            f"them, and those better by {BETTER:.0f} dB in the mean. It is reached on {reached or 'no model'}, and "
            f"missed on {short or 'none'}. Where the plan is another one, the worst eighth is "
            f"{fmean(worst) if worst else 0:+.1f} dB in the mean.",
            f"A search took {max(row['full_runs'] for row in rows):.1f} full runs and "
            f"{max(row['seconds'] for row in rows):.1f} s at most.",
            table(head, [*((name, *verdict.columns) for name, verdict in verdicts.items())])
            + f"\n| all | {' | '.join(Verdict.of(rows).columns)} |",
            f'Decibels of what each search chose, "{DEFAULT}" where no plan was taken. "hindsight", where a model '
            "misses the goal and it was measured: the best of "
            f"{max((row['tries'] for row in best.values()), default=TRIES)} plans climbed to on the judged images "
            "themselves.",
            table(
                ("model", "setting", *shown),
                [(TITLES[name], s, *columns(mine, best.get((name, s)))) for (name, s), mine in by_place.items()],
            ),
        ]
    )


def place_of(row: dict) -> tuple[str, str]:
    return row["model"], row["setting"]


def columns(rows: Rows, best: dict | None) -> Iterable[str]:
    """Of the searches of a place."""
    own = rows[0]["own"]
    for value, digits in (("pooled", 1), ("worst", 1), ("calls", 2)):
        yield f"{own[value]:.{digits}f}"
        yield ", ".join(f"{row['tuned'][value]:.{digits}f}" if differs(row) else DEFAULT for row in rows)
    yield f"{best['best']['pooled']:.1f}" if best else "-"


def main() -> None:
    parser = bench.parser(__doc__, jobs=2)
    parser.add_argument("--model", action="append", choices=MODELS, help="only this one (repeatable)")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the table of docs/tune.md")
    options = parser.parse_args()
    if options.page:
        return put(PAGE, plans=markdown(bench.results(FILE.name)))
    places = [Place(name, setting) for setting in SETTINGS for name in options.model or MODELS]
    if options.quick:
        places = [Place("flux", QUICK, BATCH, SEEDS[:1], "8-8")]
    rows = [row for found in bench.measured(measure, places, options.jobs, options.quick) for row in found]
    tries = 3 if options.quick else TRIES
    again = [
        replace(place, tries=tries, starts=tuple(plan_of(row["tuned"]) for row in mine if differs(row)))
        for place in places
        if (mine := [row for row in rows if place_of(row) == (place.model, place.setting.name)])
        and not Verdict.of([row for row in rows if row["model"] == place.model]).reached
    ]
    best = bench.measured(hindsight, again, options.jobs, options.quick)
    for row in rows:
        told = f"{row['seed']}  own {row['own']['pooled']:5.1f}  {gain(row):+.1f} dB"
        print(f"{row['model']:14} {row['setting']:10} {told}  {row['tuned']['plan'] if differs(row) else ''}")
    found = {"comfyui": bench.host().version, "rows": rows, "hindsight": best}
    if options.model and not options.quick:
        before = bench.results(FILE.name)
        others = [row for row in before["hindsight"] if row["model"] not in options.model]
        found |= {"rows": bench.merged(before["rows"], rows, "model"), "hindsight": [*others, *best]}
    bench.write(FILE.name, found, options.quick)
    if not options.quick:
        put(PAGE, plans=markdown(found))
    return None


if __name__ == "__main__":
    main()
