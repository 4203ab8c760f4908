"""Train one testbed checkpoint: ``COMFYUI_PATH=... python train.py flux --minutes 7 --out flux.safetensors``.

Rectified flow, or for the U-Net the prediction of noise, on the little world of scenes.py (``flux_emoji``: on emoji),
with the host's own model classes at toy width.  The checkpoints came from this recipe; README.md has their
command lines, steps and losses.
"""

import argparse
import json
import math
import time
from pathlib import Path

import architectures
import emoji
import scenes
import torch
from architectures import DEVICE, SETTINGS
from safetensors.torch import load_file, save_file

FAR_OUT = 4.5  # of unit deviation: one value in a thousand of a U-Net's latent lies further out
SAVE_EVERY = 240  # seconds: a run that is stopped leaves the moving average it had


def channel_scale(kind: str) -> torch.Tensor:
    """(16,) scale that leaves the natural fall-off of frequencies half in place and the mean square near one.

    The U-Net's makes the mean color no stronger than the rest: SD 1.5's schedule ends at sigma 14.6, and over so small
    a latent it would show through that noise, so sampling from noise alone would not find it.  Nor does it let the
    edges of shapes stand out further than values of a VAE do: what is seldom and far out a network learns last."""
    size = SETTINGS[kind]["size"] if kind == "unet" else 128
    video, _ = scenes.random_scenes(256, size, 1, DEVICE, torch.Generator(DEVICE).manual_seed(0))
    values = scenes.encode(video, torch.ones(16)).transpose(0, 1).flatten(1).cpu()
    spread = values.std(1)
    if kind == "unet":
        return torch.maximum(spread, values.abs().quantile(0.999, dim=1) / FAR_OUT)
    root = spread.sqrt()
    return root * ((spread / root) ** 2).mean().sqrt()


def draw_pool(kind: str, size: int, std: torch.Tensor, g: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """((size, 16, T, h, w) latents in bf16, (size, 20) caption ids) that training draws its batches from."""
    s, pool, captions = SETTINGS[kind], [], []
    for _ in range(size // 128):
        video, ids = scenes.random_scenes(128, s["size"], s["frames"], DEVICE, g)
        pool.append(scenes.encode(video, std).bfloat16())
        captions.append(ids)
    return torch.cat(pool), torch.cat(captions)


def emoji_pool(images: str, names: str, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The same of drawn emoji, and their channel scale."""
    from emoji_images import draw_pool as draw  # needs Pillow

    latents, captions, std = draw(Path(images), Path(names), size, SETTINGS["flux_emoji"]["size"])
    return latents.to(DEVICE).bfloat16(), captions.to(DEVICE), std


def save(path: str, names: list[str], weights: list[torch.Tensor], std: torch.Tensor) -> None:
    save_file(
        {n: p.to(torch.bfloat16).contiguous().cpu() for n, p in zip(names, weights, strict=True)},
        path,
        metadata={"std": json.dumps(std.tolist())},
    )


def in_the_hosts_names(state: dict[str, torch.Tensor], model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The scale of a norm has been called ``scale`` and ``weight`` in the host; its loader knows both."""
    names = dict(model.named_parameters())
    return {n if n in names else n.replace("_norm.scale", "_norm.weight"): value for n, value in state.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=SETTINGS)
    parser.add_argument("--minutes", type=float, default=7.0)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--pool", type=int, help="scenes to draw once and train on")
    parser.add_argument("--no-compile", action="store_true", help="run the blocks as they are")
    parser.add_argument("--emoji", nargs=2, metavar=("FOLDER", "CSV"), help="of flux_emoji: its images and their names")
    parser.add_argument("--start", help="go on from this checkpoint")
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    kind, s = options.kind, SETTINGS[options.kind]

    g, size = torch.Generator(DEVICE).manual_seed(6 if options.start else 5), options.pool or s["pool"]
    if kind == "flux_emoji":
        pool, captions, std = emoji_pool(*options.emoji, size)
        table = emoji.embedding_table().to(DEVICE)
    else:
        std = channel_scale(kind)
        pool, captions = draw_pool(kind, size, std, g)
        table = scenes.embedding_table(scenes.CONTEXT_DIM[kind]).to(DEVICE)

    model = architectures.build(kind)
    architectures.initialise(model)
    if kind == "unet":
        architectures.copy_input(model)
    if options.start:
        model.load_state_dict(in_the_hosts_names(load_file(options.start), model))
    architectures.use_functional_blocks()
    if not options.no_compile:
        for block in architectures.blocks(kind, model):
            block.forward = torch.compile(block.forward, dynamic=False)
    names, params = zip(*model.named_parameters(), strict=True)
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in params if p.ndim >= 2], "weight_decay": 0.01},
            {"params": [p for p in params if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=options.lr,
        betas=(0.9, 0.98),
    )
    ema, start, step, recent = [p.detach().clone() for p in params], time.time(), 0, []
    saved = start
    while (done := (time.time() - start) / (60 * options.minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = options.lr * min(1, step / s["warmup"]) * (0.99 * (1 - done) + 0.01)
        pick = torch.randint(0, len(pool), (s["batch"],), device=DEVICE, generator=g)
        clean, context = pool[pick].float(), table[captions[pick]]
        context = context * (torch.rand(s["batch"], 1, 1, device=DEVICE, generator=g) >= 0.1)  # 10% unconditional
        loss = architectures.loss(kind, model, clean, context, g)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        step += 1
        recent.append(loss.item())
        with torch.no_grad():
            torch._foreach_lerp_(ema, list(params), 1 - min(0.9995, 1 - 10 / (step + 10)))
        if step % 100 == 0:
            print(f"{kind} step {step} loss {sum(recent) / len(recent):.4f} {time.time() - start:.0f}s", flush=True)
            recent.clear()
        if time.time() - saved > SAVE_EVERY:
            save(options.out, names, ema, std)
            saved = time.time()
    save(options.out, names, ema, std)
    print(f"{kind} {step} steps in {(time.time() - start) / 60:.1f} minutes")


if __name__ == "__main__":
    assert math.isclose(sum(scenes.KEPT), 16)
    main()
