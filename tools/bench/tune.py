"""DiCache Tune on every trained model of the testbed: ``make bench-tune``.

For each model and each of the three qualities: tuned on three captions, three times from other seeds, and each choice
judged on eight other captions: its images against the uncached ones of the same noise.  A case is one caption under
one choice.  Beside it the preset ``balanced`` on the same eight: where it keeps the quality, what was tuned has to be
as fast.  What DiCache Tune remembers goes to a folder that is thrown away.  Writes tools/bench/results/tune.json and
the figures of docs/tune.md.  ``--quick`` only shows that all this runs.
"""

import json
import statistics
from dataclasses import dataclass
from functools import cache
from typing import Any

import bench
import torch
from bench import put, table
from cells import TITLES
from testbed import conditioning as testbed
from testbed.captions import CAPTIONS

PAGE = bench.DOCS / "tune.md"
# Smaller than the checkpoints' own sizes, as in tools/bench/quality.py: this is to take minutes.
SIZES = {
    "flux": {"size": 12}, "hunyuan_video": {"size": 8, "frames": 3}, "wan": {"size": 8, "frames": 3},
    "qwen_image": {"size": 12}, "z_image": {"size": 12}, "unet": {"size": 8},
}  # fmt: skip
SEED = 900
WANTED = 0.9  # of the cases


@dataclass(frozen=True)
class Effort:
    """How much is sampled.

    Attributes:
        tuned_on, judged_on: captions, by number; one of every background to tune on.
        tunings: seeds: what three captions show is luck in part.
        qualities: how many of them, from the strictest on.
    """

    steps: int = 30
    tuned_on: tuple[int, ...] = (0, 5, 8)
    judged_on: tuple[int, ...] = (1, 2, 3, 4, 6, 7, 9, 10)
    tunings: tuple[int, ...] = (1, 101, 201)
    qualities: int = 3


QUICK = Effort(steps=10, tuned_on=(0,), judged_on=(1,), tunings=(1,), qualities=1)


class Lab:
    """One model: its captions, its uncached images, and settings judged on them."""

    def __init__(self, architecture: str, effort: Effort) -> None:
        self.comfy, self.architecture, self.effort = bench.host(), architecture, effort
        self.cfg, self.size = testbed.SHAPES[architecture].cfg, SIZES[architecture]
        self.model = self.comfy.load_model(architecture)
        self.core = self.comfy.pack.dicache_core
        self.judge = cache(self._judge)
        self.plain = cache(lambda: self.sample(self.model))

    def tune(self, want: str, seed: int) -> dict:
        """The node's report."""
        cls = self.comfy.nodes.NODE_CLASS_MAPPINGS["DiCacheTuning"]
        first, *more = [testbed.conditioning(self.architecture, CAPTIONS[number]) for number in self.effort.tuned_on]
        answer = cls.PREPARE_CLASS_CLONE(None).execute(
            model=self.model, positive=first, negative=testbed.conditioning(self.architecture, ""), seed=seed,
            latent_image={"samples": testbed.empty_latent(self.architecture, 1, **self.size)},
            steps=self.effort.steps, cfg=self.cfg, sampler_name="euler", scheduler="simple", denoise=1.0,
            want=want, vae=self, **{f"positive_{number}": prompt for number, prompt in enumerate(more, 2)},
        )  # fmt: skip
        return json.loads(answer.result[3])

    def _judge(self, policy: str, target: str, plan: Any = None) -> dict:
        """Likeness of the captions under a setting, and the share of calls that it computed."""
        chosen = self.core.policies.chosen_policy(policy, target=target, plan=plan)
        config = self.core.resolve(self.architecture, policy=chosen)
        runs: list = []
        images = self.sample(self.comfy.pack.model_patchers.attach(self.model, config, runs=runs))
        likeness = [self.similarity(*pair) for pair in zip(images, self.plain(), strict=True)]
        decisions = [decision for sample in runs[0].by_sample().values() for _step, decision in sample]
        return {"likeness": likeness, "computed": sum(not d.reuse for d in decisions) / len(decisions)}

    def sample(self, model: Any) -> tuple[torch.Tensor, ...]:
        """Images of each caption to judge on, in one batch whose samples decide alone; their noise is their own."""
        captions = [CAPTIONS[number] for number in self.effort.judged_on]
        about = {"architecture": self.architecture, "steps": self.effort.steps, "cfg": self.cfg, "seed": SEED}
        return self.decode(self.comfy.sample(model, captions, **about, **self.size)).chunk(len(captions))

    def decode(self, samples: torch.Tensor) -> torch.Tensor:
        """As a VAE does."""
        return self.comfy.pictures(samples, self.architecture).clamp(0, 1)

    def similarity(self, images: torch.Tensor, plain: torch.Tensor) -> Any:
        measured = self.comfy.pack.dicache_nodes.rendering.similarity
        same = images.equal(plain)
        return self.core.quality.Similarity.of(*((float("inf"), 1.0) if same else measured(images, plain)))


def rows_of(asked: tuple[str, Effort]) -> list[dict]:
    """A row for each quality of a model."""
    lab, rows = Lab(*asked), []
    balanced = lab.judge("forecast", "2x")
    for want, quality in list(lab.core.quality.QUALITIES.items())[: lab.effort.qualities]:
        reports = [lab.tune(want, seed) for seed in lab.effort.tunings]
        chosen = [next(trial for trial in report["trials"] if trial["chosen"]) for report in reports]
        plan_of = lab.core.tuning.store.read_plan
        tuned = [lab.judge(trial["policy"], trial["target"], plan_of(trial["plan"])) for trial in chosen]
        likeness = [found for judged in tuned for found in judged["likeness"]]

        def kept(likeness: list, quality: Any = quality) -> int:
            return sum(quality.headroom(found) >= 0 for found in likeness)

        rows.append(
            {
                "architecture": lab.architecture,
                "want": want,
                "chosen": [report["chosen"] for report in reports],
                "kept": kept(likeness),
                "cases": len(likeness),
                "computed": round(statistics.fmean(judged["computed"] for judged in tuned), 4),
                "psnr_worst": round(min(found.psnr for found in likeness), 2),
                "psnr_mean": round(statistics.fmean(found.psnr for found in likeness), 2),
                "ssim_worst": round(min(found.ssim for found in likeness), 4),
                "measured_speed": round(statistics.fmean(trial["speed"] for trial in chosen), 3),
                "full_runs": max(report["full_runs"] for report in reports),
                "tried": [[trial["setting"] for trial in report["trials"][1:]] for report in reports],
                "balanced_kept": kept(balanced["likeness"]),
                "balanced_computed": round(balanced["computed"], 4),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


def summary(rows: list[dict], judged: int) -> dict:
    """What the rows say together; each tuning was ``judged`` on so many captions."""
    kept, cases = sum(row["kept"] for row in rows), sum(row["cases"] for row in rows)
    # ``balanced`` keeps a quality as tuning promises it: on nine of ten captions.
    kept_by_balanced = [row for row in rows if row["balanced_kept"] >= WANTED * judged]
    slower = [row for row in kept_by_balanced if row["computed"] > row["balanced_computed"]]
    return {
        "kept": kept,
        "cases": cases,
        "kept_share": round(kept / cases, 4),
        "balanced_keeps": len(kept_by_balanced),
        "slower_than_balanced": [f"{row['architecture']}, {row['want']}" for row in slower],
        "wanted_share": WANTED,
        "most_full_runs": max(row["full_runs"] for row in rows),
    }


# The page


def markdown(found: dict) -> str:
    """Everything between the markers: how it was measured, the goal and whether it is reached, the rows."""
    reached = "reached" if found["kept_share"] >= found["wanted_share"] else "**missed**"
    slower, rows = ", ".join(found["slower_than_balanced"]) or "none", found["rows"]
    short, missing = [], [title for name, title in TITLES.items() if name in SIZES]
    for name in dict.fromkeys(row["architecture"] for row in rows):
        missing.remove(TITLES[name])
        kept, cases = (sum(row[key] for row in rows if row["architecture"] == name) for key in ("kept", "cases"))
        short += [f"{TITLES[name]} ({kept} of {cases})"] if kept < found["wanted_share"] * cases else []
    head = (
        "model", "asked", "chosen", "kept", "computed", "worst PSNR", "worst SSIM", "full runs", "`balanced`",
    )  # fmt: skip
    return "\n".join(
        [
            f"Tuned on {found['tuned_on']} captions, {found['tunings']} times from other seeds, and judged on "
            f"{len(Effort().judged_on)} others, at {found['steps']} steps, in ComfyUI {found['comfyui']}. A case is "
            "one caption under one choice.",
            "",
            f"- The quality was kept in {found['kept']} of {found['cases']} cases ({found['kept_share']:.0%}). "
            f"The goal of {found['wanted_share']:.0%} is {reached}.",
            f"- `balanced` keeps the quality, on that share of the captions, in {found['balanced_keeps']} of "
            f"{len(rows)} rows. Where it does, tuning chose slower settings in {slower}.",
            f"- A tuning took {found['most_full_runs']:.2f} full runs at most.",
            *([f"- Below the goal on its own: {', '.join(short)}."] if short else []),
            *([f"- **Not measured yet**: {', '.join(missing)}."] if missing else []),
            "",
            table(head, map(line, rows)),
        ]
    )


def line(row: dict) -> tuple:
    return (
        TITLES[row["architecture"]], row["want"], "; ".join(row["chosen"]), f"{row['kept']} of {row['cases']}",
        f"{row['computed']:.0%}", f"{row['psnr_worst']:.1f} dB", f"{row['ssim_worst']:.3f}", f"{row['full_runs']:.2f}",
        f"{row['balanced_kept']} ({row['balanced_computed']:.0%})",
    )  # fmt: skip


def main() -> None:
    parser = bench.parser(__doc__, jobs=1)
    one = "only this one (repeatable); the file keeps the others' rows"
    parser.add_argument("--architecture", action="append", choices=SIZES, help=one)
    options = parser.parse_args()
    effort, models = (QUICK, ["flux"]) if options.quick else (Effort(), options.architecture or list(SIZES))
    asked = [(name, effort) for name in models]
    rows = [row for found in bench.measured(rows_of, asked, options.jobs, options.quick) for row in found]
    how = {"comfyui": bench.host().version, "torch": torch.__version__, "steps": effort.steps}
    how |= {"tuned_on": len(effort.tuned_on), "tunings": len(effort.tunings)}
    if options.architecture and not options.quick:
        before = bench.results("tune.json")
        if {key: before[key] for key in how} != how:
            raise ValueError(f"measured another way than {how}: measure all models anew, without --architecture")
        rows = bench.merged(before["rows"], rows, "architecture")
        rows.sort(key=lambda row: list(SIZES).index(row["architecture"]))
    found = {**how, **summary(rows, len(effort.judged_on)), "rows": rows}
    bench.write("tune.json", found, options.quick)
    if not options.quick:
        put(PAGE, tune=markdown(found))


if __name__ == "__main__":
    main()
