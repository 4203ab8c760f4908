"""Distil the testbed's Flux into few-step models: ``COMFYUI_PATH=... python distil.py flux_reflow --paths P --out F``.

First ``distil.py paths --out P``: the teacher's own way from noise to latent, for captions drawn like those it was
trained on.  Then a student that starts from the teacher's weights learns from these paths alone:

* ``flux_reflow`` the velocity of the straight line between a path's ends (Liu et al., arXiv 2209.03003), for euler;
* ``flux_lcm`` to jump from every point of a path to its end, the consistency function (Song et al., arXiv 2303.01469).
  Paths are stored whole, so the end itself is the target, where Luo et al. (arXiv 2310.04378) take a moving average's
  guess from the next point.  For the sampler lcm.
"""

import argparse
import time
from pathlib import Path

import architectures
import scenes
import torch
from packing import unpacked
from safetensors.torch import load_file, save_file
from train import channel_scale, save

TEACHER = "flux"
CELLS = 16  # half of what the teacher was trained on: a quarter of the time
STEPS = 16  # of a path
SHIFT = 3.16  # exp(1.15), ComfyUI's for Flux: students practise where they are used
PATH_SHIFT = 2.0  # more points near the picture than users have: the last step is the roughest
BATCH, WARMUP, SAVE_EVERY = 16, 30, 120
RATES = {"flux_reflow": 3e-4, "flux_lcm": 8e-4}


def times(share: torch.Tensor, shift: float) -> torch.Tensor:
    """Flow times of shares of the schedule, both 1 at the noise and 0 at the picture."""
    return shift * share / (1 + (shift - 1) * share)


def load(path: Path) -> torch.nn.Module:
    """The weights' names are those that every ComfyUI reads; its newest has another for the norms' scales."""
    model = architectures.build("flux")
    model.load_state_dict({name.replace("_norm.scale", "_norm.weight"): w for name, w in load_file(path).items()})
    return model


@torch.no_grad()
def walk(model, noise: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    """(B, STEPS + 1, 16, 1, h, w) points of the teacher's path, by Adams-Bashforth of second order."""
    grid, points, older = times(torch.linspace(1, 0, STEPS + 1), PATH_SHIFT), [noise], None
    for k in range(STEPS):
        velocity = architectures.velocity(model, "flux", points[-1], grid[k].expand(len(noise)), context)
        step, use = grid[k + 1] - grid[k], velocity
        if older is not None:
            use = velocity + step / (2 * (grid[k] - grid[k - 1])) * (velocity - older)
        points.append(points[-1] + step * use)
        older = velocity
    return torch.stack(points, 1)


def draw_paths(options: argparse.Namespace) -> None:
    """Paths of ``--count`` captions, saved as they come, so that a student may start on the first ones."""
    model, table, saved = load(unpacked(TEACHER)), scenes.embedding_table(64), time.time()
    found = load_file(options.out) if options.out.is_file() else None
    points, captions = ([found["points"]], [found["captions"]]) if found else ([], [])
    for done in range(len(found["points"]) if found else 0, options.count, BATCH):
        g = torch.Generator().manual_seed(1000 + done)
        _, ids = scenes.random_scenes(BATCH, 8, 1, "cpu", g)
        noise = torch.randn(BATCH, 16, 1, CELLS, CELLS, generator=g)
        points.append(walk(model, noise, table[ids]).half())
        captions.append(ids)
        if time.time() - saved > SAVE_EVERY or done + BATCH >= options.count:
            part = options.out.with_suffix(".part")
            save_file({"points": torch.cat(points), "captions": torch.cat(captions)}, part)
            part.replace(options.out)  # at once, for a student that reads meanwhile
            saved = time.time()
            print(f"{done + BATCH} paths", flush=True)


def reflow_loss(model, points, context, g) -> torch.Tensor:
    noise, latent = points[:, 0], points[:, -1]
    t = times(torch.rand(len(points), generator=g), SHIFT)
    velocity = architectures.velocity(model, "flux", torch.lerp(latent, noise, t.view(-1, 1, 1, 1, 1)), t, context)
    return torch.nn.functional.mse_loss(velocity, noise - latent)


def lcm_loss(model, points, context, g) -> torch.Tensor:
    """Half of the points are the noise or close to it: from there the jump is longest and all of the layout is new."""
    share = torch.rand(len(points), generator=g)
    at = (STEPS * torch.where(torch.rand(len(points), generator=g) < 0.5, share**3, share)).long()
    t = times(1 - at / STEPS, PATH_SHIFT)
    x, latent, view = points[torch.arange(len(points)), at], points[:, -1], t.view(-1, 1, 1, 1, 1)
    jump = x - view * architectures.velocity(model, "flux", x, t, context)
    error = (jump - latent).square().mean((1, 2, 3, 4))
    return ((error + 1e-4).sqrt() / t).mean()  # not squared: no few hard jumps above all the others


LOSSES = {"flux_reflow": reflow_loss, "flux_lcm": lcm_loss}


def distil(options: argparse.Namespace) -> None:
    kind, std, table = options.kind, channel_scale("flux"), scenes.embedding_table(64)
    model = load(options.start or unpacked(TEACHER))
    architectures.use_functional_blocks()
    paths = load_file(options.paths)
    names, params = zip(*model.named_parameters(), strict=True)
    names = [name.replace("_norm.weight", "_norm.scale") for name in names]
    optimizer = torch.optim.AdamW(params, lr=RATES[kind], betas=(0.9, 0.98), weight_decay=0)
    g = torch.Generator().manual_seed(9)
    ema, start, step, recent = [p.detach().clone() for p in params], time.time(), 0, []
    saved = start
    while (done := (time.time() - start) / (60 * options.minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = RATES[kind] * min(1, (step + 1) / WARMUP) * (0.99 * (1 - done) + 0.01)
        pick = torch.randint(0, len(paths["points"]), (BATCH,), generator=g)
        loss = LOSSES[kind](model, paths["points"][pick].float(), table[paths["captions"][pick]], g)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        step += 1
        recent.append(loss.item())
        with torch.no_grad():
            torch._foreach_lerp_(ema, list(params), 1 - min(0.99, 1 - 10 / (step + 10)))
        if step % 20 == 0:
            print(f"{kind} step {step} loss {sum(recent) / len(recent):.4f} {time.time() - start:.0f}s", flush=True)
            recent.clear()
        if time.time() - saved > SAVE_EVERY:
            save(options.out, names, ema, std)
            saved = time.time()
            paths = load_file(options.paths)  # there may be more of them by now
    save(options.out, names, ema, std)
    print(f"{kind} {step} steps in {(time.time() - start) / 60:.1f} minutes on {len(paths['points'])} paths")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["paths", *LOSSES])
    parser.add_argument("--count", type=int, default=2048, help="paths to draw")
    parser.add_argument("--paths", type=Path, help="what `paths` wrote")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--start", type=Path, help="go on from this student")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    draw_paths(options) if options.kind == "paths" else distil(options)


if __name__ == "__main__":
    main()
