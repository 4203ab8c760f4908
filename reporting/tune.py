"""What DiCache Tune found: in words, as a plot of quality against time, and side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from ..dicache_core import LARGEST_PSNR, Answer, Keep, Situation, Trial, Wish
from .compare import Row, compare_sheet
from .plot import COLORS, FAINT, INK, LARGE, SMALL, as_picture, blank_figure, dress

FULL = "without DiCache"
HIGHEST = 60.0  # decibels on the plot: beyond it there is nothing to see


def tune_text(answer: Answer, wish: str) -> str:
    """One or two lines about what was chosen, and what it cost to find out."""
    chosen = answer.chosen
    cost = f"{len(answer.trials)} settings tried for {answer.full_runs:.1f} full runs"
    if chosen is answer.trials[0]:
        return f"Nothing that skips is {wish!r} here: all steps are computed.\n{cost}"
    found = f"{chosen.candidate.label}: {chosen.speed:.2f}x as fast, {_likeness(chosen)} at worst"
    if not answer.granted:
        return f"Nothing reaches {wish}. The fastest is {found}.\n{cost}"
    return f"For {wish!r} {found}.\n{cost}; {chosen.computed} of {chosen.calls} calls of the model computed"


def tune_report(answer: Answer, wish_text: str, wish: Wish, situation: Situation, file: str) -> dict[str, Any]:
    """Everything, for JSON."""
    return {
        "wish": wish_text,
        "bounds": asdict(wish.quality) if isinstance(wish, Keep) else {"speed": wish.speed},
        "granted": answer.granted,
        "chosen": answer.chosen.candidate.label,
        "sampler": situation.sampler,
        "steps": situation.steps,
        "serves_steps": situation.range,
        "full_runs": round(answer.full_runs, 3),
        "remembered_in": file,
        "trials": [
            {
                "setting": trial.candidate.label,
                "policy": trial.candidate.policy,
                "target": trial.candidate.target,
                "chosen": trial is answer.chosen,
                "keeps": wish.granted(trial),
                "speed": trial.speed,
                "computed": trial.computed,
                "calls": trial.calls,
                "seconds": trial.seconds,
                "pictures": [asdict(found) for found in trial.likeness],
            }
            for trial in answer.trials
        ],
    }


def tune_sheet(answer: Answer, pictures: Sequence[Sequence[Tensor]], steps: int, video: bool) -> Tensor:
    """Full, chosen and next faster side by side, differences below, per prompt: ``(N, H', W', 3)``.

    ``pictures`` are ``(N, H, W, 3)`` per trial and prompt; a trial that was given up has fewer prompts, and so has the
    sheet. ``steps`` are those of a run.
    """
    shown = [answer.trials[0], *dict.fromkeys(t for t in (answer.chosen, answer.next_faster) if t)]
    shown = list(dict.fromkeys(shown))
    prompts = min(len(of_trial) for of_trial in pictures)
    per_prompt = len(answer.trials[0].likeness) // answer.trials[0].runs
    sheets = []
    for prompt in range(prompts):
        found = slice(prompt * per_prompt, (prompt + 1) * per_prompt)
        rows = [_row(trial, answer, found, steps) for trial in shown]
        sheets.append(compare_sheet(rows, [of_trial[prompt] for of_trial in pictures], video))
    return torch.cat(sheets)


def _row(trial: Trial, answer: Answer, found: slice, steps: int) -> Row:
    """Of the worst picture of one prompt, with the mean seconds and steps of a run."""
    per_prompt = found.stop - found.start
    likeness = trial.likeness[found]
    psnr, ssim = min(one.psnr for one in likeness), min(one.ssim for one in likeness)
    full = trial is answer.trials[0]
    role = FULL if full else f"{trial.candidate.label}, chosen" if trial is answer.chosen else trial.candidate.label
    same = full or psnr >= LARGEST_PSNR
    seconds = trial.seconds * per_prompt / len(trial.likeness)
    computed = round(steps * trial.computed / trial.calls)
    return Row(role, seconds, trial.speed, computed, steps, None if same else psnr, ssim, same)


def tune_plot(answer: Answer, wish: Wish) -> Tensor:
    """The worst picture's PSNR against time, of everything that was tried ``(1, 960, 1280, 3)``."""
    figure = blank_figure()
    axis = figure.subplots()
    kinds = {
        "chosen": (COLORS["reused"], "*", 340),
        "good": (COLORS["computed"], "o", 150),
        "not surely": (FAINT, "X", 150),
    }
    points: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for trial in answer.trials[1:]:
        kind = "chosen" if trial is answer.chosen else "good" if wish.granted(trial) else "not surely"
        points[kind].append((100 * trial.time, min(trial.worst.psnr, HIGHEST)))
        place = {"xytext": (0, 14), "textcoords": "offset points", "ha": "center"}
        axis.annotate(trial.candidate.label, points[kind][-1], color=INK, fontsize=SMALL, **place)
    for kind, (colour, marker, size) in kinds.items():
        axis.scatter(
            *zip(*points[kind], strict=True) if points[kind] else ([], []), size, colour, marker, label=kind, zorder=3
        )
    if isinstance(wish, Keep):
        axis.axhline(wish.quality.psnr, color=INK, linestyle=(0, (5, 4)), linewidth=2)
    else:
        axis.axvline(100 / wish.speed, color=INK, linestyle=(0, (5, 4)), linewidth=2)
    axis.set_xlabel("time of the full run, %", color=FAINT, fontsize=SMALL)
    axis.set_ylabel("PSNR of the worst picture, dB", color=FAINT, fontsize=SMALL)
    axis.margins(0.2, 0.2)
    dress(axis)
    chosen = answer.chosen
    name = (
        "everything computed"
        if chosen is answer.trials[0]
        else f"{chosen.candidate.label}, measured {chosen.speed:.2f}x"
    )
    figure.suptitle(f"chosen: {name}", color=INK, fontsize=LARGE, x=0.02, ha="left", fontweight="bold")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=SMALL, labelcolor=INK)
    return as_picture(figure)


def _likeness(trial: Trial) -> str:
    worst = trial.worst
    if worst.psnr >= LARGEST_PSNR:
        return "no difference"
    return f"PSNR {worst.psnr:.1f} dB and SSIM {worst.ssim:.3f}"
