"""Plans searched on the testbed's models, for plain reuse and for the own forecast: ``make bench-searched``.

Full-size models' plans were searched for reuse, for average velocities and for a forecast, and disagree.  What differs
here between the two ways of rebuilding is what a way asks; only what then differs from real plans for reuse is the
models' doing.  Hill climbing on the final images, 50 steps of Euler's method: the mean squared error over 24 images
decides, so that hard ones count.  It starts from the best of five plans and moves one computed call, or swaps the place
of two gaps, per try.  The plan that was found is then judged on 24 images that the search did not see.

Writes tools/bench/results/plans.json, which docs/validity.md shows (``make bench-validity ARGS=--page``).
"""

import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import bench
from cells import Setting, pooled
from hard import size_of
from settings import CHECKPOINTS, Steered, cells_of

STEPS = 50
COUNTS = (21, 13)
REBUILDS = {"reuse": "reuse", "forecast": "corrected_line"}  # what is searched for, and the predictor
SEARCHED, JUDGED = "0-7,16-23,32-39", "8-15,24-31,40-47"  # images: captions 0 to 7 and 8 to 15
EVEN = Setting("euler50", "", STEPS)
QUICK = Setting("euler12", "", 12)

Plan = tuple[int, ...]


@dataclass(frozen=True)
class Place:
    """A model, a way of rebuilding and a number of computed calls; ``tries`` plans are run at the most."""

    model: str
    rebuild: str
    count: int
    tries: int
    setting: Setting = EVEN
    searched: str = SEARCHED
    judged: str = JUDGED


def cells(place: Place, spans: str) -> list[Steered]:
    return cells_of(CHECKPOINTS[place.model].model, place.setting, spans)


def own_plan(place: Place) -> Plan:
    """What the forecast method computes where no skip is vetoed."""
    cell = cells(place, place.searched)[0]
    _, _, run = cell.run(cell.counted("forecast", place.count))
    return run.computed_calls()[0]


def judged(place: Place, plan: Plan, spans: str) -> float:
    """Decibels of the mean squared error over all images."""
    psnr = []
    for cell in cells(place, spans):
        core = cell.core
        mask = ",".join("1" if step in plan else "0" for step in range(place.setting.steps))
        policy = core.policy.Policy("mask", REBUILDS[place.rebuild], mask=mask, warmup_steps=0)
        found = cell.cached(core.resolve(cell.architecture, "published", policy=policy))
        if abs(found["calls"] - len(plan)) > 1e-6:
            raise RuntimeError(f"{place} computed {found['calls']} calls where the plan has {len(plan)}")
        psnr += found["psnr"]
    return pooled(psnr)


def starts(place: Place) -> Iterator[Plan]:
    """The own plan, an even one, and one whose first third is computed in a row, the rest evenly or ever farther."""
    steps, count = place.setting.steps, place.count
    yield own_plan(place)
    yield spread(0, steps, count, 1.0)
    yield spread(0, steps, count, 1.5)
    first = round(count / 3)
    for power in (1.0, 1.5):
        yield tuple(range(first)) + spread(first, steps, count - first, power)


def spread(first: int, steps: int, count: int, power: float) -> Plan:
    """``count`` steps from ``first`` to the last, gaps growing with ``power`` above 1."""
    found = [first]
    for number in range(1, count):
        wanted = first + round((steps - 1 - first) * (number / (count - 1)) ** power)
        found.append(min(max(wanted, found[-1] + 1), steps - count + number))
    return tuple(found)


def moved(plan: Plan, steps: int, rng: random.Random) -> Plan:
    """A neighbour: one computed step elsewhere by up to three steps, or two neighbouring gaps swapped."""
    inner = list(plan[1:-1])
    at = rng.randrange(len(inner))
    if rng.random() < 0.3:
        inner[at] = plan[at] + plan[at + 2] - inner[at]
    else:
        inner[at] += rng.choice((-3, -2, -1, 1, 2, 3))
    return tuple(sorted({0, steps - 1, *(step for step in inner if 0 < step < steps - 1)}))


def climbed(
    begin: Iterable[Plan], worth: Callable[[Plan], float], count: int, steps: int, tries: int
) -> tuple[Plan, dict[Plan, float]]:
    """Hill climbing from the best of some plans on, of ``count`` computed ``steps``: the best one, and what each of the
    ``tries`` is worth."""
    rng = random.Random(0)
    known = {plan: worth(plan) for plan in dict.fromkeys(begin)}
    best = max(known, key=known.get)
    while len(known) < tries:
        plan = moved(best, steps, rng)
        if len(plan) == count and plan not in known:
            known[plan] = worth(plan)
            best = max(best, plan, key=known.get)
    return best, known


def measure(place: Place) -> dict:
    """A row: the best plan that was found, and what it and the own one give on images that were not searched on."""
    begin, plans = time.monotonic(), list(starts(place))
    own, *_ = plans

    def worth(plan: Plan) -> float:
        return judged(place, plan, place.searched)

    best, known = climbed(plans, worth, place.count, place.setting.steps, place.tries)
    row = {"model": place.model, "size": size_of(CHECKPOINTS[place.model].model)}
    row |= {"rebuild": place.rebuild, "count": place.count, "tries": len(known)}
    row |= {"bits": bits(best, place.setting.steps), "own_bits": bits(own, place.setting.steps)}
    row |= {"searched_psnr": known[best], "own_searched_psnr": known[own]}
    row |= {"pooled_psnr": judged(place, best, place.judged), "own_pooled_psnr": judged(place, own, place.judged)}
    row |= {"images": sum(len(cell.images) for cell in cells(place, place.judged))}
    row |= {"minutes": (time.monotonic() - begin) / 60}
    return {name: round(value, 2) if isinstance(value, float) else value for name, value in row.items()}


def bits(plan: Plan, steps: int) -> str:
    """As in real_plans.tsv: 0 is a computed step."""
    return "".join("0" if step in plan else "1" for step in range(steps))


def main() -> None:
    parser = bench.parser(__doc__, jobs=2)
    parser.add_argument("--tries", type=int, default=60, help="plans run per search")
    options = parser.parse_args()
    models = [name for name in CHECKPOINTS if not name.startswith("flux_")]
    kinds = [(name, rebuild, count) for count in COUNTS for name in models for rebuild in REBUILDS]
    places = [Place(*kind, options.tries) for kind in kinds]
    if options.quick:
        places = [Place("flux", "forecast", 6, 6, QUICK, "0-0", "8-8")]
    rows = bench.measured(measure, places, options.jobs, options.quick)
    for row in rows:
        told = f"{row['pooled_psnr']:5.1f} own {row['own_pooled_psnr']:5.1f}"
        print(f"{row['model']:14} {row['rebuild']:9} {row['bits']} {told}")
    bench.write("plans.json", {"steps": STEPS, "rows": rows}, options.quick)


if __name__ == "__main__":
    main()
