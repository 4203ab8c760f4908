"""The networks that train.py trains: the host's own classes at toy width, their first weights, and their loss.

The host's Flux blocks add to their input in place, which autograd does not survive, so training swaps in functional
twins of the two blocks.  The other blocks are functional as they are.
"""

import os
import sys

import torch
from networks import NETWORKS

sys.path.insert(0, os.environ["COMFYUI_PATH"])
argv, sys.argv = sys.argv, sys.argv[:1]
import comfy.options  # noqa: E402
from comfy.cli_args import args as host_args  # noqa: E402

sys.argv = argv
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
host_args.cpu = DEVICE == "cpu"
host_args.use_pytorch_cross_attention = True
import comfy.ldm.flux.layers as flux_layers  # noqa: E402
import comfy.ldm.flux.model  # noqa: E402
import comfy.ldm.hunyuan_video.model  # noqa: E402
import comfy.ldm.lumina.model  # noqa: E402
import comfy.ldm.modules.diffusionmodules.openaimodel  # noqa: E402
import comfy.ldm.qwen_image.model  # noqa: E402
import comfy.ldm.wan.model  # noqa: E402
import comfy.model_management  # noqa: E402
import comfy.model_sampling  # noqa: E402
import comfy.ops  # noqa: E402
from comfy.ldm.flux.math import attention  # noqa: E402

WIDTH = 128  # one head of 128
SETTINGS = {  # blocks, picture size, frames, batch, scenes in the pool, steps until the learning rate is full
    "flux": dict(double=4, single=8, size=256, frames=1, batch=512, pool=98304, warmup=300),
    "flux_emoji": dict(double=4, single=8, size=96, frames=1, batch=32, pool=6000, warmup=100),
    "hunyuan_video": dict(double=4, single=8, size=128, frames=7, batch=256, pool=32768, warmup=300),
    "wan": dict(layers=14, size=128, frames=7, batch=256, pool=32768, warmup=300),
    "qwen_image": dict(size=128, frames=1, batch=32, pool=3072, warmup=50),
    "z_image": dict(size=96, frames=1, batch=24, pool=12288, warmup=100),
    "unet": dict(size=64, frames=1, batch=32, pool=8192, warmup=100),
}
CLASSES = {
    "qwen_image": comfy.ldm.qwen_image.model.QwenImageTransformer2DModel,
    "z_image": comfy.ldm.lumina.model.NextDiT,
    "unet": comfy.ldm.modules.diffusionmodules.openaimodel.UNetModel,
}
TIME_FACTOR = {
    **dict.fromkeys(("flux", "flux_emoji", "qwen_image", "z_image"), 1.0),
    **dict.fromkeys(("hunyuan_video", "wan"), 1000.0),
}
STILL = ("flux", "flux_emoji", "z_image", "unet")  # their latent has no frames: (B, 16, h, w)


def build(kind: str) -> torch.nn.Module:
    s, common = SETTINGS[kind], dict(dtype=torch.float32, device=DEVICE, operations=comfy.ops.disable_weight_init)
    if kind in CLASSES:
        return CLASSES[kind](**NETWORKS[kind], **common)
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
    if kind in ("flux", "flux_emoji"):
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


ZERO = (
    "mod.lin",
    "modulation.lin",
    "adaLN_modulation",
    "time_projection",
    "final_layer.linear",
    "head.head",
    "img_mod.1",
    "txt_mod.1",
    "norm_out.linear",
    "proj_out",
)
HALF = (
    "linear2.weight",
    "proj.weight",
    ".o.weight",
    "ffn.2.weight",
    "mlp.2.weight",
    "to_out.0.weight",
    "to_add_out.weight",
    "mlp.net.2.weight",
    "out_layers.3.weight",
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
                if any(k in name for k in ZERO) or name == "out.2.weight":
                    p.zero_()
                if name.endswith(HALF):
                    p.mul_(0.5)
            else:  # of one dimension: scales of norms, and biases
                p.fill_(1.0 if name.endswith(("weight", "scale")) else 0.0)


OFFSET = 3.0  # of unit deviation


def copy_input(unet: torch.nn.Module) -> None:
    """Let a U-Net start as the identity: where all is noise, what it is asked for is its input.

    Each channel goes in as a pair (x + OFFSET, -x - OFFSET), which is a group of the last GroupNorm, and
    silu(u) - silu(-u) = u.  Without the offset the norm would take out how strong x is: noise that is a little weaker
    than a step expects comes out as if it were not, so that the next x has less of it, until sampling swings about."""
    into, last, out = unet.input_blocks[0][0], unet.output_blocks[-1][0], unet.out[2]
    strength = (1 + OFFSET**2) ** 0.5  # of a pair where x has unit deviation
    with torch.no_grad():
        into.weight[:32], last.skip_connection.weight[:32] = 0, 0
        last.out_layers[3].weight.zero_()
        out.bias.fill_(-OFFSET)
        for channel in range(16):
            for copy, sign in ((2 * channel, 1.0), (2 * channel + 1, -1.0)):
                into.weight[copy, channel, 1, 1], into.bias[copy] = sign, sign * OFFSET
                last.skip_connection.weight[copy, last.channels - len(into.weight) + copy] = 1.0
                out.weight[channel, copy, 1, 1] = sign * strength


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


def use_functional_blocks() -> None:
    """Let autograd through the host's code, before a model is called."""
    comfy.model_management.in_training = True
    flux_layers.DoubleStreamBlock.forward, flux_layers.SingleStreamBlock.forward = _double_block, _single_block


def half_precision():
    """bfloat16 where the device has it; a processor without it takes six times as long to imitate it."""
    return torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=DEVICE == "cuda")


def loss(kind: str, model, clean: torch.Tensor, context: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    """Mean squared error of one batch: (B, 16, T, h, w) clean latent, (B, 20, C) context."""
    noise = torch.randn(clean.shape, device=DEVICE, generator=g)
    if kind == "unet":
        return _noise_loss(model, clean[:, :, 0], context, noise[:, :, 0], g)
    t = torch.sigmoid(torch.randn(len(clean), device=DEVICE, generator=g) * 1.1 + 0.4)
    noisy = clean + t.view(-1, 1, 1, 1, 1) * (noise - clean)
    with half_precision():
        predicted = velocity(model, kind, noisy, t, context)
    return torch.nn.functional.mse_loss(predicted.float(), noise - clean)


def _noise_loss(model, clean, context, noise, g) -> torch.Tensor:
    """SD 1.5's schedule and prediction.  The weight makes it the loss of the velocity, as the others have it, up to a
    limit: where all is noise, a small error of the noise is a large one of the picture, and so of its colors.  In half
    of the channels noise is weaker than the step says, as in a sampler that took away too much."""
    t = torch.randint(0, len(SIGMAS), (len(clean),), device=DEVICE, generator=g)
    sigma = SIGMAS[t].view(-1, 1, 1, 1)
    weaker, which = torch.rand(2, *noise.shape[:2], 1, 1, device=DEVICE, generator=g)
    noise = noise * torch.where(which < 0.5, 1 - WEAKER * weaker, 1.0)
    with half_precision():
        predicted = model((clean + sigma * noise) / (1 + sigma**2).sqrt(), t, context, transformer_options={})
    return ((predicted.float() - noise) ** 2 * (1 + sigma**2).clamp(max=20)).mean()


WEAKER = 0.6  # at the most, of the noise that a step expects
SIGMAS = comfy.model_sampling.ModelSamplingDiscrete().sigmas.to(DEVICE)


def velocity(model, kind, x, t, context):
    """(B, 16, T, h, w) noisy latent, (B,) time in [0, 1], (B, 20, C) context -> velocity of the same shape as x."""
    batch, extra = x.shape[0], {}
    if kind == "z_image":
        extra = dict(num_tokens=context.shape[1])
    if kind in ("flux", "flux_emoji", "hunyuan_video"):
        extra = dict(y=torch.zeros(batch, 768, device=x.device), guidance=torch.full((batch,), 3.5, device=x.device))
    out = model(x[:, :, 0] if kind in STILL else x, t * TIME_FACTOR[kind], context, transformer_options={}, **extra)
    return out[:, :, None] if kind in STILL else out


def blocks(kind: str, model: torch.nn.Module) -> list[torch.nn.Module]:
    """The blocks of which a model spends its time in."""
    if kind == "wan":
        return list(model.blocks)
    if kind == "qwen_image":
        return list(model.transformer_blocks)
    if kind == "z_image":
        return [*model.noise_refiner, *model.layers]
    if kind == "unet":
        return []
    return [*model.double_blocks, *model.single_blocks]
