"""What DiCache Tune found: in words, as a plot of quality against time, and side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...dicache_core import Goal, KeepQuality, RunContext, SearchResult, StepCode, Trial
from ...dicache_core.quality import LARGEST_PSNR
from ...dicache_core.tuning.plan_finder import NO_SEARCH, NoSearch
from .compare import Row, check_measuring, compare_sheet
from .plot import COLORS, FAINT, INK, LARGE, SMALL, as_picture, blank_figure, dress

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FULL = "without DiCache"
MARGIN = "margin for 9 of 10 images"
NO_BETTER_PLAN = "No better plan was found than the forecast method's own."
MOST_ROWS = 8  # of computed steps on the plot
HIGHEST = 60.0  # decibels on the plot: beyond it there is nothing to see


def check_tuning() -> None:
    """Raise an ``ImportError`` where a tuning can be neither measured nor drawn: before it, not after it."""
    check_measuring()
    blank_figure()


def tune_text(result: SearchResult, goal: str, unsaved: str = "", no_search: NoSearch | None = None) -> str:
    """A few lines: what was chosen, what it cost to find out, why it has no plan, and why it is not saved."""
    found = "\n".join(filter(None, [_found_text(result, goal), _plan_text(result, no_search)]))
    if not unsaved:
        return f"{found}\nSaved. Set the preset of DiCache Apply to tuned."
    return f"{found}\nNot saved: {unsaved}. To use it, connect the policy output to DiCache Apply."


def _plan_text(result: SearchResult, no_search: NoSearch | None) -> str:
    """Why the choice has no plan; empty where it has one."""
    if no_search is not None:
        return f"No plan was searched: {NO_SEARCH[no_search]}."
    return NO_BETTER_PLAN if result.chosen.candidate.plan is None else ""


def _found_text(result: SearchResult, goal: str) -> str:
    chosen = result.chosen
    cost = f"{len(result.trials)} settings tried, at the cost of {result.full_runs:.1f} full runs."
    if chosen is result.trials[0]:
        return f"No setting keeps {goal!r} here. Chosen: compute all steps.\n{cost}"
    found = f"{chosen.candidate.label} (measured {chosen.speed:.2f}x; worst image {_likeness(chosen)})"
    if not result.granted:
        return f"No setting reaches {goal}. Chosen: the fastest, {found}.\n{cost}"
    return f"Chosen: {found}.\n{cost} It computes {chosen.computed} of {chosen.calls} model evaluations."


def tune_report(
    result: SearchResult,
    goal_text: str,
    goal: Goal,
    context: RunContext,
    file: str,
    unsaved: str = "",
    no_search: NoSearch | None = None,
    search_seconds: float = 0.0,
) -> dict[str, Any]:
    """Everything, for JSON."""
    return {
        "goal": goal_text,
        "bounds": asdict(goal.quality) if isinstance(goal, KeepQuality) else {"speed": goal.speed},
        "granted": result.granted,
        "chosen": result.chosen.candidate.label,
        "sampler": context.sampler_text,
        "steps": context.steps,
        "serves_steps": context.range,
        "full_runs": round(result.full_runs, 3),
        "schedule_part": [context.begin, context.end],
        "remembered_in": file or None,
        "not_saved": unsaved or None,
        "plan_search": {"seconds": round(search_seconds, 3), "not_searched": no_search and no_search.value},
        "trials": [
            {
                "setting": trial.candidate.label,
                "policy": trial.candidate.policy,
                "target": trial.candidate.target,
                "plan": trial.candidate.plan and asdict(trial.candidate.plan),
                "computed_steps": list(trial.computed_calls),
                "chosen": trial is result.chosen,
                "keeps": goal.granted(trial),
                "speed": trial.speed,
                "computed": trial.computed,
                "calls": trial.calls,
                "seconds": trial.seconds,
                "pictures": [asdict(found) for found in trial.similarities],
            }
            for trial in result.trials
        ],
    }


def tune_sheet(
    result: SearchResult, pictures: Sequence[Sequence[Tensor]], steps: int, evaluations: int, video: bool
) -> Tensor:
    """Full, chosen and next faster side by side, differences below, per prompt: ``(N, H', W', 3)``.

    ``pictures`` are ``(N, H, W, 3)`` per trial and prompt; a trial that was given up has fewer prompts, and so has the
    sheet. ``steps`` are those of a run, ``evaluations`` those of the model in it.
    """
    prompts = min(len(of_trial) for of_trial in pictures)
    per_prompt = len(result.trials[0].similarities) // result.trials[0].runs
    sheets = []
    for prompt in range(prompts):
        found = slice(prompt * per_prompt, (prompt + 1) * per_prompt)
        rows = [_row(trial, result, found, steps, evaluations) for trial in result.shown]
        sheets.append(compare_sheet(rows, [of_trial[prompt] for of_trial in pictures], video))
    return torch.cat(sheets)


def _row(trial: Trial, result: SearchResult, found: slice, steps: int, evaluations: int) -> Row:
    """Of the worst image of one prompt, with the mean seconds and computed evaluations of a run."""
    per_prompt = found.stop - found.start
    similarities = trial.similarities[found]
    psnr, ssim = min(one.psnr for one in similarities), min(one.ssim for one in similarities)
    full = trial is result.trials[0]
    role = FULL if full else f"{trial.candidate.label}, chosen" if trial is result.chosen else trial.candidate.label
    same = full or psnr >= LARGEST_PSNR
    seconds = trial.seconds * per_prompt / len(trial.similarities)
    computed = round(evaluations * trial.computed / trial.calls)
    return Row(role, seconds, trial.speed, computed, steps, evaluations, None if same else psnr, ssim, same)


def _expected(trial: Trial, goal: Goal) -> float:
    """The PSNR in decibels above which nine of ten images are expected."""
    return goal.expected(trial) + (goal.quality.psnr if isinstance(goal, KeepQuality) else 0.0)


def _draw_margin(axis: Axes, x: float, worst: float, expected: float) -> None:
    """From the worst measured image down to where nine of ten others are expected."""
    named = any(line.get_label() == MARGIN for line in axis.get_lines())
    axis.plot(
        [x, x], [worst, min(expected, worst)], color=FAINT, linewidth=2, marker="_", markevery=[1],
        markersize=16, label=None if named else MARGIN, zorder=2,
    )  # fmt: skip


def tune_plot(result: SearchResult, goal: Goal) -> Tensor:
    """The worst image's PSNR against time, of everything that was tried, and below it which steps each computed
    ``(1, 960, 1280, 3)``."""
    figure = blank_figure()
    drawn = [trial for trial in result.trials[1:] if trial.computed_calls][-MOST_ROWS:]
    axis, *below = figure.subplots(
        1 + bool(drawn), 1, squeeze=False, gridspec_kw={"height_ratios": [3, 1 + 0.2 * len(drawn)][: 1 + bool(drawn)]}
    )[:, 0]
    kinds = {
        "chosen": (COLORS[StepCode.REUSED], "*", 340),
        "keeps the target": (COLORS[StepCode.COMPUTED], "o", 150),
        "may miss the target": (FAINT, "X", 150),
    }
    points: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for trial in result.trials[1:]:
        kind = (
            "chosen" if trial is result.chosen else "keeps the target" if goal.granted(trial) else "may miss the target"
        )
        points[kind].append((100 * trial.time, min(trial.worst.psnr, HIGHEST)))
        _draw_margin(axis, *points[kind][-1], _expected(trial, goal))
        place = {"xytext": (0, 14), "textcoords": "offset points", "ha": "center"}
        axis.annotate(trial.candidate.label, points[kind][-1], color=INK, fontsize=SMALL, **place)
    for kind, (colour, marker, size) in kinds.items():
        axis.scatter(
            *zip(*points[kind], strict=True) if points[kind] else ([], []), size, colour, marker, label=kind, zorder=3
        )
    if isinstance(goal, KeepQuality):
        axis.axhline(
            goal.quality.psnr, color=INK, linestyle=(0, (5, 4)), linewidth=2, label=f"target: {goal.quality.psnr:g} dB"
        )
    else:
        axis.axvline(100 / goal.speed, color=INK, linestyle=(0, (5, 4)), linewidth=2, label=f"target: {goal.speed:g}x")
    axis.set_xlabel("time, % of the full run", color=FAINT, fontsize=SMALL)
    axis.set_ylabel("worst PSNR, dB", color=FAINT, fontsize=SMALL)
    axis.margins(0.2, 0.2)
    dress(axis)
    for rows in below:
        _draw_computed_steps(rows, drawn, result.chosen)
    chosen = result.chosen
    name = (
        "compute all steps" if chosen is result.trials[0] else f"{chosen.candidate.label}, measured {chosen.speed:.2f}x"
    )
    figure.suptitle(f"chosen: {name}", color=INK, fontsize=LARGE, x=0.02, ha="left", fontweight="bold")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=SMALL, labelcolor=INK)
    return as_picture(figure)


def _draw_computed_steps(axis: Axes, trials: Sequence[Trial], chosen: Trial) -> None:
    """A row for each trial: the model evaluations that were computed for the first image."""
    dress(axis)
    for row, trial in enumerate(trials):
        colour = COLORS[StepCode.REUSED if trial is chosen else StepCode.COMPUTED]
        calls = [call + 1 for call in trial.computed_calls]
        axis.scatter(calls, [row] * len(calls), 60, colour, "s")
    axis.set_yticks(range(len(trials)), [trial.candidate.label for trial in trials])
    axis.invert_yaxis()
    axis.margins(0.02, 0.3)
    axis.set_xlabel("computed evaluations of the first image", color=FAINT, fontsize=SMALL)


def _likeness(trial: Trial) -> str:
    worst = trial.worst
    if worst.psnr >= LARGEST_PSNR:
        return "no difference"
    return f"{worst.psnr:.1f} dB, SSIM {worst.ssim:.3f}"
