"""The method of the paper as one plain loop over a model's blocks, and an Euler sampler around it.

Independent of the pack on purpose: no wrapper, no patch, no import of it.  Every tensor is cloned before a block may
change it, every mean is taken over all tokens, and one caption is sampled at a time.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass
class Embedded:
    """What a model's embeddings make of its input: the image tokens, and the rest that its blocks need."""

    img: Tensor  # (1, T, D)
    txt: Tensor
    vec: Any
    pe: Tensor
    extra: dict


class PlainFlux:
    """Double blocks on text and image apart, single blocks on both joined."""

    def __init__(self, model) -> None:
        self.model = model
        self.depth = len(model.double_blocks) + len(model.single_blocks)

    def embed(self, x: Tensor, t: Tensor, context: Tensor, pooled: Tensor, guidance: Tensor) -> Embedded:
        from comfy.ldm.flux.layers import timestep_embedding

        m = self.model
        img, img_ids = m.process_img(x)
        vec = m.time_in(timestep_embedding(t, 256).to(img.dtype))
        vec = vec + m.guidance_in(timestep_embedding(guidance, 256).to(img.dtype))
        vec = vec + m.vector_in(pooled[:, : m.params.vec_in_dim])
        txt_ids = torch.zeros(1, context.shape[1], 3)
        pe = m.pe_embedder(torch.cat([txt_ids, img_ids], dim=1))
        return Embedded(m.img_in(img), m.txt_in(context), vec, pe, {})

    def block(self, i: int, e: Embedded, img: Tensor, txt: Tensor) -> tuple[Tensor, Tensor]:
        doubles = len(self.model.double_blocks)
        if i < doubles:
            return self.model.double_blocks[i](img=img.clone(), txt=txt.clone(), vec=e.vec, pe=e.pe, attn_mask=None)
        joined = self.model.single_blocks[i - doubles](torch.cat([txt, img], 1), vec=e.vec, pe=e.pe, attn_mask=None)
        return joined[:, txt.shape[1] :], joined[:, : txt.shape[1]]

    def head(self, e: Embedded, img: Tensor, x: Tensor) -> Tensor:
        out = self.model.final_layer(img, e.vec)
        h, w = x.shape[-2] // 2, x.shape[-1] // 2
        return out.view(1, h, w, -1, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(1, -1, 2 * h, 2 * w)


class PlainHunyuanVideo(PlainFlux):
    """Flux's blocks behind a 3D patch embedding and a text refiner."""

    def embed(self, x: Tensor, t: Tensor, context: Tensor, pooled: Tensor, guidance: Tensor) -> Embedded:
        from comfy.ldm.flux.layers import timestep_embedding

        m = self.model
        img = m.img_in(x)
        vec = m.time_in(timestep_embedding(t, 256, time_factor=1.0).to(img.dtype))
        vec = vec + m.vector_in(pooled[:, : m.params.vec_in_dim])
        vec = vec + m.guidance_in(timestep_embedding(guidance, 256).to(img.dtype))
        txt = m.txt_in(context, t, None)
        pe = m.pe_embedder(torch.cat([torch.zeros(1, context.shape[1], 3), m.img_ids(x)], dim=1))
        return Embedded(img, txt, vec, pe, {})

    def head(self, e: Embedded, img: Tensor, x: Tensor) -> Tensor:
        out = self.model.final_layer(img, e.vec)
        t, h, w = x.shape[-3], x.shape[-2] // 2, x.shape[-1] // 2
        out = out.view(1, t, h, w, -1, 1, 2, 2).permute(0, 4, 1, 5, 2, 6, 3, 7)
        return out.reshape(1, -1, t, 2 * h, 2 * w)


class PlainWan:
    """Blocks on image tokens, with text by cross-attention."""

    def __init__(self, model) -> None:
        self.model = model
        self.depth = len(model.blocks)

    def embed(self, x: Tensor, t: Tensor, context: Tensor, pooled: Tensor, guidance: Tensor) -> Embedded:
        from comfy.ldm.wan.model import sinusoidal_embedding_1d

        m = self.model
        img = m.patch_embedding(x.float())
        grid = img.shape[2:]
        e = m.time_embedding(sinusoidal_embedding_1d(m.freq_dim, t.flatten()).to(x.dtype)).reshape(1, 1, -1)
        freqs = m.rope_encode(*x.shape[2:], device=x.device, dtype=x.dtype)
        vec = m.time_projection(e).unflatten(2, (6, m.dim))
        return Embedded(img.flatten(2).transpose(1, 2), m.text_embedding(context), vec, freqs, {"e": e, "grid": grid})

    def block(self, i: int, e: Embedded, img: Tensor, txt: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.blocks[i](img.clone(), e=e.vec, freqs=e.pe, context=txt, context_img_len=None), txt

    def head(self, e: Embedded, img: Tensor, x: Tensor) -> Tensor:
        t, h, w = e.extra["grid"]
        out = self.model.head(img, e.extra["e"]).view(1, t, h, w, 1, 2, 2, -1)
        return out.permute(0, 7, 1, 4, 2, 5, 3, 6).reshape(1, -1, t, 2 * h, 2 * w)


PLAIN = {"flux": PlainFlux, "hunyuan_video": PlainHunyuanVideo, "wan": PlainWan}


def sample_plainly(
    patcher, architecture: str, conditioning: list, noise: Tensor, sigmas: Tensor, threshold: float, gamma_max: float
) -> tuple[Tensor, str]:
    """(model-space latent, decisions) of one caption, decisions being ``c`` for computed and ``r`` for reused steps."""
    plain = PLAIN[architecture](patcher.model.diffusion_model)
    sampling = patcher.get_model_object("model_sampling")
    context, extras = conditioning[0]
    pooled, guidance = extras.get("pooled_output", torch.zeros(1, 768)), torch.tensor([extras.get("guidance", 0.0)])
    steps, warmup, x = len(sigmas) - 1, -(-(len(sigmas) - 1) // 5), noise * sigmas[0]
    previous, anchors, total, decisions = None, [], 0.0, ""
    for step in range(steps):
        e = plain.embed(x, sampling.timestep(sigmas[step : step + 1]).float(), context, pooled, guidance)
        h0 = e.img.clone()
        img, txt = plain.block(0, e, e.img, e.txt)
        hm = img.clone()
        q = hm - h0
        skip = False
        if previous is not None:
            total += ((hm - previous).abs().mean() / previous.abs().mean()).item()
            skip = warmup <= step < steps - 1 and total < threshold
        previous = hm
        if skip:
            (r_a, q_a), (r_b, q_b) = anchors
            gamma = ((q - q_a).abs().mean() / (q_b - q_a).abs().mean()).clamp(1.0, gamma_max)
            hM = h0 + r_a + gamma * (r_b - r_a)
        else:
            for i in range(1, plain.depth):
                img, txt = plain.block(i, e, img, txt)
            hM, total = img, 0.0
            anchors = [*anchors, (hM - h0, q)][-2:]
        decisions += "r" if skip else "c"
        denoised = x - plain.head(e, hM, x) * sigmas[step]
        x = x + (x - denoised) / sigmas[step] * (sigmas[step + 1] - sigmas[step])
    return x, decisions
