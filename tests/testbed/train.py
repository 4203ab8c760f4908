"""Train one testbed checkpoint on a GPU: ``COMFYUI_PATH=... python train.py flux --minutes 7 --out flux.safetensors``.

Rectified flow on the little world of scenes.py, with the host's own model classes at toy width, so the host's model
detection recognises the file and loads it like any Flux, HunyuanVideo or Wan checkpoint.  The three files in weights/
came from this recipe (see README.md for steps and losses).  The host's Flux blocks add to their input in place, which
autograd does not survive, so training swaps in functional twins of the two blocks.
"""

import argparse
import json
import math
import os
import sys
import time

import scenes
import torch

sys.path.insert(0, os.environ["COMFYUI_PATH"])
argv, sys.argv = sys.argv, sys.argv[:1]
import comfy.options  # noqa: E402
from comfy.cli_args import args as host_args  # noqa: E402

sys.argv = argv
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
host_args.cpu = DEVICE == "cpu"
import comfy.ldm.flux.layers as flux_layers  # noqa: E402
import comfy.ldm.flux.model  # noqa: E402
import comfy.ldm.hunyuan_video.model  # noqa: E402
import comfy.ldm.wan.model  # noqa: E402
import comfy.model_management  # noqa: E402
import comfy.ops  # noqa: E402
from comfy.ldm.flux.math import attention  # noqa: E402

WIDTH = 128  # one head of 128
SETTINGS = {  # blocks, picture size, frames, batch, scenes in the pool
    "flux": dict(double=4, single=8, size=256, frames=1, batch=512, pool=98304),
    "hunyuan_video": dict(double=4, single=8, size=128, frames=7, batch=256, pool=32768),
    "wan": dict(layers=14, size=128, frames=7, batch=256, pool=32768),
}
TIME_FACTOR = {"flux": 1.0, "hunyuan_video": 1000.0, "wan": 1000.0}


def build(kind: str) -> torch.nn.Module:
    s, common = SETTINGS[kind], dict(dtype=torch.float32, device=DEVICE, operations=comfy.ops.disable_weight_init)
    if kind == "wan":
        return comfy.ldm.wan.model.WanModel(
            model_type="t2v",
            patch_size=(1, 2, 2),
            in_dim=16,
            out_dim=16,
            dim=WIDTH,
            ffn_dim=4 * WIDTH,
            text_dim=4096,
            num_heads=1,
            num_layers=s["layers"],
            **common,
        )
    shared = dict(
        in_channels=16,
        out_channels=16,
        vec_in_dim=768,
        context_in_dim=64,
        hidden_size=WIDTH,
        mlp_ratio=4.0,
        num_heads=1,
        depth=s["double"],
        depth_single_blocks=s["single"],
        axes_dim=[16, 56, 56],
        qkv_bias=True,
        guidance_embed=True,
        **common,
    )
    if kind == "flux":
        return comfy.ldm.flux.model.Flux(theta=10000, patch_size=2, txt_ids_dims=[], **shared)
    return comfy.ldm.hunyuan_video.model.HunyuanVideo(
        theta=256,
        patch_size=[1, 2, 2],
        byt5=False,
        meanflow=False,
        use_cond_type_embedding=False,
        vision_in_dim=None,
        meanflow_sum=False,
        **shared,
    )


def initialise(model: torch.nn.Module) -> None:
    """Fan-in init; modulation and output layers start at zero."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("modulation"):
                p.normal_(0, p.shape[-1] ** -0.5)
            elif p.ndim >= 2:
                p.normal_(0, p[0].numel() ** -0.5)
                if any(
                    k in name
                    for k in (
                        "mod.lin",
                        "modulation.lin",
                        "adaLN_modulation",
                        "time_projection",
                        "final_layer.linear",
                        "head.head",
                    )
                ):
                    p.zero_()
                if name.endswith(("linear2.weight", "proj.weight", ".o.weight", "ffn.2.weight", "mlp.2.weight")):
                    p.mul_(0.5)
            else:
                p.fill_(1.0 if "norm" in name and name.endswith(("weight", "scale")) else 0.0)


def _modulate(x, m):
    return x * (1 + m.scale) + m.shift


def _double_block(
    self,
    img,
    txt,
    vec,
    pe,
    attn_mask=None,
    modulation_dims_img=None,
    modulation_dims_txt=None,
    transformer_options=None,
):
    img1, img2 = self.img_mod(vec)
    txt1, txt2 = self.txt_mod(vec)

    def qkv(attn, x):
        y = attn.qkv(x)
        q, k, v = y.view(*y.shape[:2], 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        return *attn.norm(q, k, v), v

    iq, ik, iv = qkv(self.img_attn, _modulate(self.img_norm1(img), img1))
    tq, tk, tv = qkv(self.txt_attn, _modulate(self.txt_norm1(txt), txt1))
    a = attention(torch.cat((tq, iq), 2), torch.cat((tk, ik), 2), torch.cat((tv, iv), 2), pe=pe)
    n = txt.shape[1]
    img = img + img1.gate * self.img_attn.proj(a[:, n:])
    img = img + img2.gate * self.img_mlp(_modulate(self.img_norm2(img), img2))
    txt = txt + txt1.gate * self.txt_attn.proj(a[:, :n])
    txt = txt + txt2.gate * self.txt_mlp(_modulate(self.txt_norm2(txt), txt2))
    return img, txt


def _single_block(self, x, vec, pe, attn_mask=None, modulation_dims=None, transformer_options=None):
    m, _ = self.modulation(vec)
    qkv, mlp = torch.split(
        self.linear1(_modulate(self.pre_norm(x), m)), [3 * self.hidden_size, self.mlp_hidden_dim_first], dim=-1
    )
    q, k, v = qkv.view(*qkv.shape[:2], 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
    q, k = self.norm(q, k, v)
    return x + m.gate * self.linear2(torch.cat((attention(q, k, v, pe=pe), self.mlp_act(mlp)), 2))


def velocity(model, kind, x, t, context):
    """(B, 16, T, h, w) noisy latent, (B,) time in [0, 1], (B, 20, C) context -> velocity of the same shape as x."""
    batch, extra = x.shape[0], {}
    if kind != "wan":
        extra = dict(y=torch.zeros(batch, 768, device=x.device), guidance=torch.full((batch,), 3.5, device=x.device))
    out = model(x[:, :, 0] if kind == "flux" else x, t * TIME_FACTOR[kind], context, transformer_options={}, **extra)
    return out[:, :, None] if kind == "flux" else out


def channel_scale() -> torch.Tensor:
    """(16,) scale that leaves the natural fall-off of frequencies half in place and the mean square near one."""
    video, _ = scenes.random_scenes(256, 128, 1, DEVICE, torch.Generator(DEVICE).manual_seed(0))
    spread = scenes.encode(video, torch.ones(16)).transpose(0, 1).flatten(1).std(1).cpu()
    root = spread.sqrt()
    return root * ((spread / root) ** 2).mean().sqrt()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=SETTINGS)
    parser.add_argument("--minutes", type=float, default=7.0)
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    kind, s = options.kind, SETTINGS[options.kind]

    std, g = channel_scale(), torch.Generator(DEVICE).manual_seed(5)
    pool, captions = [], []
    for _ in range(s["pool"] // 128):
        video, ids = scenes.random_scenes(128, s["size"], s["frames"], DEVICE, g)
        pool.append(scenes.encode(video, std).bfloat16())
        captions.append(ids)
    pool, captions = torch.cat(pool), torch.cat(captions)
    table = scenes.embedding_table(scenes.CONTEXT_DIM[kind]).to(DEVICE)

    model = build(kind)
    initialise(model)
    comfy.model_management.in_training = True
    flux_layers.DoubleStreamBlock.forward, flux_layers.SingleStreamBlock.forward = _double_block, _single_block
    for block in model.blocks if kind == "wan" else [*model.double_blocks, *model.single_blocks]:
        block.forward = torch.compile(block.forward, dynamic=False)
    params = list(model.parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in params if p.ndim >= 2], "weight_decay": 0.01},
            {"params": [p for p in params if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=2e-3,
        betas=(0.9, 0.98),
    )
    ema, start, step = [p.detach().clone() for p in params], time.time(), 0
    while (done := (time.time() - start) / (60 * options.minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, step / 300) * (0.99 * (1 - done) + 0.01)
        with torch.no_grad():
            pick = torch.randint(0, len(pool), (s["batch"],), device=DEVICE, generator=g)
            clean, context = pool[pick].float(), table[captions[pick]]
            context = context * (torch.rand(s["batch"], 1, 1, device=DEVICE, generator=g) >= 0.1)  # 10% unconditional
            t = torch.sigmoid(torch.randn(s["batch"], device=DEVICE, generator=g) * 1.1 + 0.4)
            noise = torch.randn(clean.shape, device=DEVICE, generator=g)
            noisy = clean + t.view(-1, 1, 1, 1, 1) * (noise - clean)
        with torch.autocast(DEVICE, dtype=torch.bfloat16):
            predicted = velocity(model, kind, noisy, t, context)
        loss = torch.nn.functional.mse_loss(predicted.float(), noise - clean)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        step += 1
        with torch.no_grad():
            torch._foreach_lerp_(ema, params, 1 - min(0.9995, 1 - 10 / (step + 10)))
        if step % 500 == 0:
            print(f"{kind} step {step} loss {loss.item():.4f} {time.time() - start:.0f}s", flush=True)

    from safetensors.torch import save_file

    names = [n for n, _ in model.named_parameters()]
    save_file(
        {n: p.to(torch.bfloat16).contiguous().cpu() for n, p in zip(names, ema, strict=True)},
        options.out,
        metadata={"std": json.dumps(std.tolist())},
    )


if __name__ == "__main__":
    assert math.isclose(sum(scenes.KEPT), 16)
    main()
