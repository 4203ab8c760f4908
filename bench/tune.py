"""DiCache Tune on every trained model of the testbed: ``make bench-tune``.

For each model and each of the three qualities: tuned on three captions, three times from other seeds, and each choice
judged on eight other captions: its pictures against the uncached ones of the same noise.  A case is one caption under
one choice.  Beside it the preset ``balanced`` on the same eight: where it keeps the quality, what was tuned has to be
as fast.  What DiCache Tune remembers goes to a folder that is thrown away.  Writes bench/results/tune.json and the
figures of docs/tune.md.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BENCH = Path(__file__).resolve().parent
REPO = BENCH.parent
sys.path.extend([str(BENCH), str(REPO / "tests"), str(REPO / "tests" / "host")])
RESULTS = BENCH / "results" / "tune.json"
# Smaller than the checkpoints' own sizes, as in bench/quality_runs.py: this is to take minutes.
SIZES = {
    "flux": {"size": 12},
    "hunyuan_video": {"size": 8, "frames": 3},
    "wan": {"size": 8, "frames": 3},
    "qwen_image": {"size": 12},
    "z_image": {"size": 12},
    "unet": {"size": 8},
}
STEPS = 30
TUNED_ON = (0, 5, 8)  # a caption of every background
JUDGED_ON = (1, 2, 3, 4, 6, 7, 9, 10)
SEED = 900
TUNINGS = (1, 101, 201)  # seeds: what three captions show is luck in part
WANTED = 0.9  # of the cases


class Lab:
    """One model: its captions, its uncached pictures, and settings judged on them."""

    def __init__(self, comfy: Any, architecture: str) -> None:
        from testbed import conditioning

        self.comfy, self.architecture, self.testbed = comfy, architecture, conditioning
        self.shape = conditioning.SHAPES[architecture]
        self.model = comfy.load_model(architecture)
        self.core, self.patchers = comfy.pack.dicache_core, comfy.pack.model_patchers
        self._judged: dict[Any, dict] = {}
        self._plain: list[Any] = []

    def tune(self, want: str, seed: int) -> dict:
        """The node's report."""
        cls = self.comfy.nodes.NODE_CLASS_MAPPINGS["DiCacheTune"]
        first, *more = [self.prompt(caption) for caption in TUNED_ON]
        answer = cls.PREPARE_CLASS_CLONE(None).execute(
            model=self.model, positive=first, negative=self.prompt(None), latent_image=self.latent(), seed=seed,
            steps=STEPS, cfg=self.shape.cfg, sampler_name="euler", scheduler="simple", denoise=1.0, want=want, vae=self,
            **{f"positive_{number}": prompt for number, prompt in enumerate(more, 2)},
        )  # fmt: skip
        return json.loads(answer.result[3])

    def judge(self, policy: str, target: str) -> dict:
        """Likeness of the eight captions under a setting, and the share of calls that it computed."""
        if (policy, target) not in self._judged:
            config = self.core.resolve(self.architecture, policy=self.core.chosen_policy(policy, target=target))
            runs: list = []
            model = self.patchers.attach(self.model, config, runs=runs)
            pairs = zip(self.sample(model), self.plain(), strict=True)
            likeness = [self.core.Likeness.of(*self.similarity(*pair)) for pair in pairs]
            decisions = [decision for lane in runs[0].lanes().values() for _step, decision in lane]
            share = sum(not decision.reuse for decision in decisions) / len(decisions)
            self._judged[policy, target] = {"likeness": likeness, "computed": share}
        return self._judged[policy, target]

    def plain(self) -> list[Any]:
        if not self._plain:
            self._plain = self.sample(self.model)
        return self._plain

    def sample(self, model: Any) -> Any:
        """Pictures of each caption to judge on, in one batch whose samples decide alone; their noise is their own."""
        from testbed.captions import CAPTIONS

        captions = [CAPTIONS[number] for number in JUDGED_ON]
        size = SIZES[self.architecture]
        samples = self.comfy.sample(
            model, captions, architecture=self.architecture, steps=STEPS, cfg=self.shape.cfg, seed=SEED, **size
        )
        return self.decode(samples).chunk(len(captions))

    def decode(self, samples: Any) -> Any:
        """As a VAE does."""
        return self.comfy.pictures(samples, self.architecture).clamp(0, 1)

    def similarity(self, pictures: Any, plain: Any) -> tuple[float, float]:
        return (float("inf"), 1.0) if pictures.equal(plain) else self.comfy.pack.reporting.similarity(pictures, plain)

    def prompt(self, caption: int | None) -> list:
        from testbed.captions import CAPTIONS

        return self.testbed.conditioning(self.architecture, "" if caption is None else CAPTIONS[caption])

    def latent(self) -> dict:
        return {"samples": self.testbed.empty_latent(self.architecture, 1, **SIZES[self.architecture])}


def rows_of(lab: Lab) -> list[dict]:
    """A row for each quality."""
    rows = []
    for want, quality in lab.core.QUALITIES.items():
        reports = [lab.tune(want, seed) for seed in TUNINGS]
        chosen = [next(trial for trial in report["trials"] if trial["chosen"]) for report in reports]
        tuned = [lab.judge(trial["policy"], trial["target"]) for trial in chosen]
        balanced = lab.judge("foreseen", "2x")
        likeness = [found for judged in tuned for found in judged["likeness"]]

        def kept(judged: dict, quality: Any = quality) -> int:
            return sum(quality.headroom(found) >= 0 for found in judged["likeness"])

        rows.append(
            {
                "architecture": lab.architecture,
                "want": want,
                "chosen": [report["chosen"] for report in reports],
                "kept": sum(kept(judged) for judged in tuned),
                "cases": len(likeness),
                "computed": round(statistics.fmean(judged["computed"] for judged in tuned), 4),
                "psnr_worst": round(min(found.psnr for found in likeness), 2),
                "psnr_mean": round(statistics.fmean(found.psnr for found in likeness), 2),
                "ssim_worst": round(min(found.ssim for found in likeness), 4),
                "measured_speed": round(statistics.fmean(trial["speed"] for trial in chosen), 3),
                "full_runs": max(report["full_runs"] for report in reports),
                "tried": [[trial["setting"] for trial in report["trials"][1:]] for report in reports],
                "balanced_kept": kept(balanced),
                "balanced_computed": round(balanced["computed"], 4),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


def with_kept(rows: list[dict], how: dict, path: Path) -> list[dict]:
    """``rows`` and those of other models that ``path`` has, in the order of ``SIZES``."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"rows": []}
    if before["rows"] and {key: before[key] for key in how} != how:
        raise ValueError(f"{path} was measured another way than {how}: measure all models anew, without --architecture")
    measured = {row["architecture"] for row in rows}
    together = rows + [row for row in before["rows"] if row["architecture"] not in measured]
    return sorted(together, key=lambda row: list(SIZES).index(row["architecture"]))


def summary(rows: list[dict]) -> dict:
    """What the rows say together."""
    kept, cases = sum(row["kept"] for row in rows), sum(row["cases"] for row in rows)
    # ``balanced`` keeps a quality as tuning promises it: on nine of ten captions.
    kept_by_balanced = [row for row in rows if row["balanced_kept"] >= WANTED * len(JUDGED_ON)]
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


def main() -> int:
    parser = argparse.ArgumentParser(description="Tune on three captions of each model, and judge on eight others.")
    parser.add_argument(
        "--architecture",
        action="append",
        choices=SIZES,
        help="only this one (repeatable); the file keeps the others' rows",
    )
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    import inprocess
    import torch
    import tune_table
    from layout import base_directory
    from provision import running_host

    torch.set_num_threads(1)
    begin, rows = time.perf_counter(), []
    with tempfile.TemporaryDirectory() as folder:
        comfy = inprocess.start(Path(running_host().comfy), base_directory(Path(folder)))
        _ = comfy.pack
        for architecture in options.architecture or SIZES:
            rows += rows_of(Lab(comfy, architecture))
        host = {"comfyui": comfy.version, "torch": torch.__version__}
        how = {**host, "steps": STEPS, "tuned_on": len(TUNED_ON), "tunings": len(TUNINGS)}
    rows = with_kept(rows, how, options.output) if options.architecture else rows
    found = {**how, **summary(rows), "rows": rows}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.output == RESULTS:
        tune_table.publish(found)
    shown = {key: value for key, value in found.items() if key != "rows"}
    print(f"{json.dumps(shown)}\n{time.perf_counter() - begin:.0f} s, wrote {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
