"""Are the testbed's students few-step models?  ``python3 tests/host/run.py --script bench/few_steps.py``.

Teacher and students at 4 and 8 steps against the teacher's 50, from the same noise, at 16x16 cells.  A student that
adds noise on its way ends in another picture, so beside the PSNR there is a distance of distributions, and a look at
colors.
Writes bench/results/few_steps.json and the table of tests/testbed/README.md; ``--pictures FILE`` shows some of them.
"""

import argparse
import json
import logging
import sys
import tempfile
from pathlib import Path

import torch

BENCH = Path(__file__).resolve().parent
REPO = BENCH.parent
sys.path.extend([str(BENCH), str(REPO / "tests"), str(REPO / "tests" / "host")])
import inprocess  # noqa: E402
from layout import base_directory  # noqa: E402
from provision import running_host  # noqa: E402
from tables import written  # noqa: E402
from testbed.captions import CAPTIONS  # noqa: E402
from testbed.scenes import COLORS  # noqa: E402

RESULTS, README = BENCH / "results" / "few_steps.json", REPO / "tests" / "testbed" / "README.md"
CELLS, SEEDS = 16, 3  # 48 pictures
FULL = ("flux", "euler", 50)
RUNS = [
    *((model, "euler", steps) for model in ("flux", "flux_reflow") for steps in (4, 8, 50)),
    *((model, "lcm", steps) for model in ("flux", "flux_lcm") for steps in (4, 8)),
]


def psnr(pictures: torch.Tensor, others: torch.Tensor) -> float:
    """Mean of decibels, pictures ``(N, H, W, 3)`` in [0, 1]."""
    return float((-10 * (pictures - others).square().flatten(1).mean(1).log10()).mean())


def frechet(latents: torch.Tensor, others: torch.Tensor) -> float:
    """Frechet distance of normals fitted to 2x2 patches of latents ``(N, 16, h, w)`` (Dowson and Landau, 1982)."""
    means, roots, covariances = [], [], []
    for x in (latents, others):
        patches = torch.nn.functional.unfold(x, 2, stride=2).transpose(1, 2).flatten(0, 1).double()  # (N * L, 64)
        covariance = torch.cov(patches.T)
        values, vectors = torch.linalg.eigh(covariance)
        means.append(patches.mean(0))
        covariances.append(covariance)
        roots.append(vectors * values.clamp(min=0).sqrt() @ vectors.T)
    both = torch.linalg.eigvalsh(roots[0] @ covariances[1] @ roots[0]).clamp(min=0).sqrt().sum()
    return float((means[0] - means[1]).square().sum() + covariances[0].trace() + covariances[1].trace() - 2 * both)


def named_colors(pictures: torch.Tensor, captions: list[str]) -> float:
    """Share of pixels whose nearest color of the world is one that the caption names, where the background is plain."""
    palette = torch.tensor(list(COLORS.values()))
    shares = []
    for picture, caption in zip(pictures, captions, strict=True):
        if caption.startswith("plain"):
            nearest = torch.cdist(picture.reshape(-1, 3), palette).argmin(1)
            named = torch.tensor([name in caption.split() for name in COLORS])
            shares.append(named[nearest].float().mean())
    return float(torch.stack(shares).mean())


def measure(comfy, runs: list[tuple[str, str, int]]) -> tuple[list[dict], dict[tuple, torch.Tensor]]:
    captions = list(CAPTIONS) * SEEDS

    def sample(run: tuple[str, str, int], seed: int) -> torch.Tensor:
        model, sampler, steps = run
        parts = [
            comfy.sample(
                comfy.load_model(model), CAPTIONS, architecture=model, steps=steps, sampler=sampler, seed=s, size=CELLS
            )
            for s in range(seed, seed + SEEDS)
        ]
        return torch.cat(parts)

    ends = {run: sample(run, 0) for run in dict.fromkeys([FULL, *runs])}
    pictures, rows, other = {run: comfy.pictures(end) for run, end in ends.items()}, [], sample(FULL, 100)
    for run in runs:
        model, sampler, steps = run
        row = {"model": model, "sampler": sampler, "steps": steps}
        # Two sets of the teacher's own pictures: as close as a model that is as good can be.
        same = run == FULL
        row["psnr_teacher"] = None if same else round(psnr(pictures[run], pictures[FULL]), 1)
        own = (model, "euler", 50)
        straight = run != own and sampler == "euler"
        row["psnr_own"] = round(psnr(pictures[run], pictures[own]), 1) if straight else None
        row["frechet"] = round(frechet(other if same else ends[run], ends[FULL]), 2)
        row["named_colors"] = round(named_colors(pictures[run], captions), 3)
        rows.append(row)
        print(row, flush=True)
    return rows, pictures


def markdown(rows: list[dict]) -> str:
    lines = [
        "| model | sampler | steps | to the teacher | to its own 50 | patches | colors |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        ratios = ["-" if r[key] is None else f"{r[key]:.1f} dB" for key in ("psnr_teacher", "psnr_own")]
        cells = [f"`{r['model']}`", r["sampler"], str(r["steps"]), *ratios, f"{r['frechet']:.2f}"]
        lines.append("| " + " | ".join([*cells, f"{r['named_colors']:.0%}"]) + " |")
    return "\n".join(lines)


def sheet(pictures: dict[tuple, torch.Tensor], path: Path) -> None:
    """One row per way to sample, the first eight captions."""
    from PIL import Image

    rows = [torch.cat(list(found[:8]), 1) for found in pictures.values()]
    Image.fromarray((torch.cat(rows).clamp(0, 1) * 255).byte().numpy()).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="only this one (repeatable); writes nothing")
    parser.add_argument("--pictures", type=Path, help="write a sheet of pictures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        comfy = inprocess.start(Path(running_host().comfy), base_directory(Path(folder)))
        logging.getLogger().setLevel(logging.WARNING)
        rows, pictures = measure(comfy, [run for run in RUNS if not options.model or run[0] in options.model])
    if options.pictures:
        sheet(pictures, options.pictures)
    if not options.model:
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        README.write_text(written(README.read_text(encoding="utf-8"), "few steps", markdown(rows)), encoding="utf-8")


if __name__ == "__main__":
    main()
