"""How far the tiny models are like real ones: ``make bench-validity``.

Each trained model at two sizes, 50 steps: fewer steps and the known methods at half of them, and where the forecast
method computes 21 and 13.  Beside it what is known of full-size models: figures that authors published
(``published.tsv``) and plans that others searched (``tests/core/real_plans.tsv``).  Plans searched on the tiny models
join where tools/bench/results/plans.json has them.  Writes tools/bench/results/validity.json and docs/validity.md;
``--page`` makes the page again, and ``--quick`` only shows that all this runs.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from statistics import fmean

import bench
from bench import put, table
from cells import TITLES, Cell, Setting, together
from core.test_real_plans import STEPS, distance, own_plan, real_plans  # each plan on the schedule it was searched with
from hard import LARGER, rows_in, size_of
from hard import Place as Sized
from quality import FEWER, applies, runner
from settings import JUDGED, cells_of

PAGE, FILE = bench.DOCS / "validity.md", bench.RESULTS / "validity.json"
PUBLISHED, SEARCHED = Path(__file__).with_name("published.tsv"), bench.RESULTS / "plans.json"
HALF, COUNTS = STEPS // 2, (21, 13)  # computed steps
PROBED = range(8, 11)  # images that thresholds are found on
SAMPLERS = {"wan": "uni_pc"}  # as the real one was sampled; the others with euler
METHODS = {  # ids of policies, by what papers call them; of several the best one counts
    "fewer steps": (FEWER,),
    "MagCache": ("magcache",),
    "SeaCache": ("seacache",),
    "MeanCache": ("meancache",),
    "TaylorSeer": ("taylorseer_1", "taylorseer_2"),
    "TeaCache": ("teacache",),
}
OWN = "forecast"
POLICIES = (*(name for names in METHODS.values() for name in names), OWN)
EARLY = {"first 10": range(10), "first 20": range(20), "last 10": range(STEPS - 10, STEPS)}
REUSE = "budcache"
PLANNED_FOR = {
    REUSE: "reuse", "meancache": "average velocities", "seacache_modal": "SeaCache's gate", "dpcache": "forecasts",
}  # fmt: skip
MOST_SPEED = 2.5  # that counts as half the steps
NEAR = 0.5  # computed calls that a method may be off half of them without a word
# From where on it disagrees: decibels of fewer steps; decibels of a real lead that is clear; mean steps between plans.
APART_PSNR, APART_ORDER, APART_STEPS = 5.0, 2.0, 2.5
QUICK_STEPS = 12

Rows = Sequence[dict]


@dataclass(frozen=True)
class Place:
    """A model at its usual or its larger size."""

    model: str
    larger: bool
    images: str = JUDGED
    steps: int = STEPS
    policies: tuple[str, ...] = POLICIES

    @property
    def sized(self) -> Sized:
        setting = Setting("", "", self.steps, SAMPLERS.get(self.model, "euler"))
        return Sized(self.model, setting, self.larger)

    @property
    def size(self) -> str:
        return size_of(self.sized.sized)


PLACES = tuple(Place(model, larger) for model in LARGER for larger in (False, True))


def measure(place: Place) -> dict:
    model, setting = place.sized.sized, place.sized.setting
    cells = cells_of(model, setting, place.images)
    few = [Cell(bench.host(), model, setting, PROBED[: len(cells[0].images)])]
    row = {"model": place.model, "size": place.size, "sampler": setting.sampler, "images": place.images}
    found = {name: at_half(place, name, cells, few) for name in place.policies}
    counts = {str(count): round(count * place.steps / STEPS) for count in COUNTS}
    runs = {name: [cell.run(cell.counted(OWN, count))[2] for cell in cells] for name, count in counts.items()}
    return row | {"methods": found, "plan": {name: early_in_run(found) for name, found in runs.items()}}


def at_half(place: Place, name: str, cells: Sequence[Cell], few: Sequence[Cell]) -> dict | None:
    """Computed calls and mean decibels; ``None`` where a method has nothing to go by on this model."""
    if not applies(cells[0], name):
        return None
    run, _ = runner(name, few)(place.steps // 2)
    found = together([run(cell) for cell in cells])
    return {"calls": round(found["calls"], 2), "psnr": round(fmean(found["psnr"]), 2)}


def early_in_run(runs: Sequence) -> dict[str, float]:
    """Computed steps among the first and the last ones, in the mean over samples."""
    samples = [
        {step.step_index for step, decision in passes if not decision.reuse}
        for run in runs
        for passes in run.by_sample().values()
    ]
    return {name: round(fmean(of(steps)[name] for steps in samples), 2) for name in EARLY}


def of(computed: set[int] | tuple[int, ...]) -> dict[str, int]:
    """How many of a plan's computed steps are among the first and the last ones."""
    return {name: len(set(computed) & set(part)) for name, part in EARLY.items()}


def joined(old: Rows, new: Rows) -> list[dict]:
    """``new`` rows in their places, each with what ``old`` knows of methods that it did not measure."""
    known = {(row["model"], row["size"]): row["methods"] for row in old}
    whole = [row | {"methods": known.get((row["model"], row["size"]), {}) | row["methods"]} for row in new]
    order = [(place.model, place.size) for place in PLACES]
    return sorted(bench.merged(old, whole, "model", "size"), key=lambda row: order.index((row["model"], row["size"])))


# What is known of others


@dataclass(frozen=True)
class Figure:
    """A published one."""

    model: str
    checkpoint: str
    method: str
    speed: float | None
    psnr: float
    paper: str  # that describes the method, arXiv; "-" where it is not known

    @property
    def at_half(self) -> bool:
        """Where no speed was recorded it is taken for one of about 2x."""
        return self.speed is None or self.speed <= MOST_SPEED

    @property
    def name(self) -> str:
        return self.method.partition(",")[0]


def published() -> list[Figure]:
    lines = [line for line in PUBLISHED.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return [
        Figure(**row | {"speed": float(row["speed"]) if row["speed"] else None, "psnr": float(row["psnr"])})
        for row in csv.DictReader(lines, delimiter="\t")
    ]


def at_half_of(model: str) -> dict[str, Figure]:
    """Of a real model, by method; where there are several, the best."""
    figures = sorted((f for f in published() if f.model == model and f.at_half), key=lambda f: f.psnr)
    return {figure.name: figure for figure in figures}


def known(row: dict) -> dict[str, float]:
    """Of a tiny model, decibels at half by method."""
    values = {name: [row["methods"].get(policy) for policy in policies] for name, policies in METHODS.items()}
    return {name: max(f["psnr"] for f in found if f) for name, found in values.items() if any(found)}


# The page


def publish(rows: Rows) -> None:
    put(PAGE, validity=markdown(rows, rows_in(SEARCHED)))
    put(bench.README, validity=line_of(rows))


def line_of(rows: Rows) -> str:
    """What the README says where it shows figures."""
    if not rows:
        return ""
    real, tiny = at_half_of("flux")["fewer steps"], known(rows[0])["fewer steps"]
    return (
        f"Real models lose more: with half the steps and no cache {real.checkpoint} keeps {real.psnr:.1f} dB, the tiny "
        f"Flux {tiny:.1f}."
    )


def markdown(rows: Rows, searched: Rows = ()) -> str:
    """Everything between the markers."""
    told = [*of_half(rows), *of_order(rows), *of_plans(), *of_searched(searched)]
    parts = [*_missing(rows)]
    for title, differing in (("## What disagrees", True), ("## What agrees", False)):
        lines = [f"- {text}" for differs, text in told if differs == differing]
        parts += [title, "\n".join(lines) or "Nothing of what is known."]
    parts += ["## At half of 50 steps", *([own_place(rows)] if rows else [])]
    parts += [part for model in LARGER for part in methods_of(model, [row for row in rows if row["model"] == model])]
    parts += ["## Which calls plans compute", "Of real models:", real_table()]
    parts += ["Of the tiny ones:", tiny_table(rows, searched)] if rows else []
    return "\n\n".join(parts)


def _missing(rows: Rows) -> Iterator[str]:
    """Names what was not measured."""
    measured = {(row["model"], row["size"]): row["methods"] for row in rows}
    told = [f"{TITLES[p.model]} {p.size}" for p in PLACES if (p.model, p.size) not in measured]
    told += [
        f"{TITLES[place[0]]} {place[1]} `{name}`"
        for place, methods in measured.items()
        for name in POLICIES
        if name not in methods
    ]
    if told:
        yield f"**Not measured yet**: {', '.join(told)}."


Told = tuple[bool, str]  # whether it disagrees, and what


def of_half(rows: Rows) -> Iterator[Told]:
    """Fewer steps, no cache."""
    for model in LARGER:
        mine, real = [row for row in rows if row["model"] == model], at_half_of(model).get("fewer steps")
        if mine and real:
            values = [known(row)["fewer steps"] for row in mine]
            here = " and ".join(f"{value:.1f} at {row['size']}" for value, row in zip(values, mine, strict=True))
            differs = any(abs(value - real.psnr) > APART_PSNR for value in values)
            text = f"Half the steps without a cache: {real.checkpoint} keeps {real.psnr:.1f} dB, the tiny"
            yield differs, f"{text} {TITLES[model]} {here}."


def of_order(rows: Rows) -> Iterator[Told]:
    """Pairs of methods that stand the other way round here at every size, where the real lead is clear."""
    for model in LARGER:
        real, mine = at_half_of(model), [known(row) for row in rows if row["model"] == model]
        names = [name for name in real if mine and all(name in values for values in mine)]
        pairs = [
            (ahead, behind)
            for behind, ahead in combinations(names, 2)  # of the real model the lowest first
            if real[ahead].psnr - real[behind].psnr > APART_ORDER
        ]
        turned = [(a, b) for a, b in pairs if all(values[a] < values[b] for values in mine)]
        if pairs:
            text = f"The order of methods at half the steps, {real[names[0]].checkpoint} and the tiny {TITLES[model]}:"
            text += f" {len(turned)} of {len(pairs)} clear pairs are turned round at every size."
            named = ", ".join(f"{a} over {b}" for a, b in turned)
            yield bool(turned), text + (f" Real and not here: {named}." if turned else "")


def of_plans() -> Iterator[Told]:
    """How far plans that were searched on real models are from the forecast method's."""
    for method, what in PLANNED_FOR.items():
        apart: dict[str, list[float]] = {}
        for plan in real_plans():
            if plan.method == method:
                own = own_plan(plan.model, len(plan.computed))
                apart.setdefault(plan.model, []).append(distance(own, plan.computed))
        mean, most = fmean(d for found in apart.values() for d in found), max(apart, key=lambda m: fmean(apart[m]))
        text = f"Plans searched on real models for {what} (`{method}`) are {mean:.1f} steps from the forecast method's."
        yield mean > APART_STEPS, f"{text} It is most on {TITLES[most]}, {fmean(apart[most]):.1f}."


def of_searched(searched: Rows) -> Iterator[Told]:
    """What a plan that was searched here for reuse says: does rebuilding or the model explain the real ones?"""
    real = {(plan.model, len(plan.computed)): plan.computed for plan in real_plans() if plan.method == REUSE}
    found = {(row["model"], row["size"], row["count"], row["rebuild"]): computed_in(row["bits"]) for row in searched}
    for (model, size, count, rebuild), reuse in found.items():
        forecast, other = found.get((model, size, count, "forecast")), real.get((model, count))
        if rebuild == "reuse" and forecast and other:
            asked, left = distance(reuse, forecast), distance(reuse, other)
            text = f"{TITLES[model]} {size}, {count} of 50: a plan searched here for reuse is {asked:.1f} steps from"
            text += f" one for forecasts, and {left:.1f} from the real one for reuse (`{REUSE}`)."
            yield left > APART_STEPS, f"{text} More is the {'model' if left > asked else 'way of rebuilding'}."


def own_place(rows: Rows) -> str:
    """Where the forecast method is first among these, and plainly where it is not."""
    lost = []
    for row in rows:
        own, values = row["methods"][OWN]["psnr"], known(row)
        best = max(values, key=values.get)
        if values[best] > own:
            lost.append(
                f"- {TITLES[row['model']]} {row['size']}, {row['sampler']}: {values[best] - own:.1f} dB behind {best}"
            )
    first = f"On the tiny models the forecast method is first in {len(rows) - len(lost)} of {len(rows)} cells."
    return "\n".join([first, *(["", *lost] if lost else [])])


def methods_of(model: str, rows: Rows) -> Iterator[str]:
    """A model's table: methods down, the real model and the tiny one at its sizes across."""
    beyond = {f.name: f for f in sorted(published(), key=lambda f: -(f.speed or 0)) if f.model == model}
    real = beyond | at_half_of(model)
    yield f"### {TITLES[model]}" if real else f"### {TITLES[model]} (nothing known of a real one)"

    def here(row: dict, policy: str) -> str:
        found = row["methods"].get(policy)
        off = found and abs(found["calls"] - HALF) > NEAR
        return (f"{found['psnr']:.1f}" + (f" [{found['calls']:g}]" if off else "")) if found else "-"

    def there(name: str) -> str:
        return _cited(real[name]) if name in real else "-"

    lines = []
    for name, policies in METHODS.items():
        for policy in policies:
            title = name if len(policies) == 1 else f"`{policy}`"
            lines.append((title, there(name), *(here(row, policy) for row in rows)))
    lines += [(name, there(name), *("-" for _ in rows)) for name in real if name not in METHODS]
    lines.append(("**forecast method**", "-", *(here(row, OWN) for row in rows)))
    checkpoint = next((figure.checkpoint for figure in real.values()), "a real one")
    yield table(("method", checkpoint, *(f"tiny, {row['size']}, {row['sampler']}" for row in rows)), lines)


def _cited(figure: Figure) -> str:
    """Decibels, with the paper of the method behind them where it is known, and the speed."""
    value = (
        f"{figure.psnr:.1f}" if figure.paper == "-" else f"[{figure.psnr:.1f}](https://arxiv.org/abs/{figure.paper})"
    )
    return f"{value} ({figure.speed:.1f}x)" if figure.speed else f"{value} (?)"


def real_table() -> str:
    """Computed calls among the first 10, the first 20 and the last 10 of 50."""
    plans = {(plan.model, len(plan.computed), plan.method): plan.computed for plan in real_plans()}
    lines = []
    for model in dict.fromkeys(model for model, _, _ in plans):
        for count in COUNTS:
            others = (plans.get((model, count, method)) for method in PLANNED_FOR)
            own = own_plan(model, count)
            lines.append((TITLES[model], count, _shares(of(own)), *(_shares(of(p)) if p else "-" for p in others)))
    heads = (f"for {what} (`{method}`)" for method, what in PLANNED_FOR.items())
    return table(("model", "computed", "forecast method", *heads), lines)


def tiny_table(rows: Rows, searched: Rows) -> str:
    plans = {(row["model"], row["size"], row["count"], row["rebuild"]): row for row in searched}

    def found(row: dict, count: int, rebuild: str) -> str:
        plan = plans.get((row["model"], row["size"], count, rebuild))
        if plan is None:
            return "-"
        gained = f"{plan['pooled_psnr']:.1f} dB, own plan {plan['own_pooled_psnr']:.1f}"
        return f"{_shares(of(computed_in(plan['bits'])))} ({gained})"

    lines = [
        (TITLES[row["model"]], row["size"], count, _shares(row["plan"][str(count)]),
         *(found(row, count, rebuild) for rebuild in ("forecast", "reuse")))
        for row in rows
        for count in COUNTS
    ]  # fmt: skip
    heads = ("forecast method in its runs", "searched for forecasts", "searched for reuse")
    return table(("model", "size", "computed", *heads), lines)


def _shares(found: dict[str, float]) -> str:
    return ", ".join(f"{found[name]:g}" for name in EARLY)


def computed_in(bits: str) -> tuple[int, ...]:
    """The steps that a plan computes: 0 is a computed one, 1 a skipped one."""
    return tuple(i for i, bit in enumerate(bits) if bit == "0")


def main() -> None:
    parser = bench.parser(__doc__, jobs=2)
    parser.add_argument("--model", action="append", choices=LARGER, help="only this one (repeatable)")
    parser.add_argument("--size", choices=("usual", "larger"), help="only this one")
    parser.add_argument("--own-only", action="store_true", help="only the forecast method, where all was measured")
    parser.add_argument("--page", action="store_true", help="measure nothing, write docs/validity.md")
    options = parser.parse_args()
    if options.page:
        return publish(rows_in(FILE))
    places = [
        place
        for place in PLACES
        if place.model in (options.model or LARGER) and options.size in (None, "larger" if place.larger else "usual")
    ]
    if options.own_only:
        measured = {(row["model"], row["size"]) for row in rows_in(FILE)}
        places = [replace(place, policies=(OWN,)) for place in places if (place.model, place.size) in measured]
    if options.quick:
        places = [Place("flux", False, images="8-9", steps=QUICK_STEPS, policies=(FEWER, OWN))]
    rows = bench.measured(measure, places, options.jobs, options.quick)
    if options.quick:
        bench.write(FILE.name, {"rows": rows}, quick=True)
        return None
    rows = joined(rows_in(FILE), rows)
    bench.write(FILE.name, {"rows": rows})
    return publish(rows)


if __name__ == "__main__":
    main()
