"""The method of the paper as one plain loop over a model's blocks, in an Euler sampler with guidance or without.

Independent of the pack on purpose: no wrapper, no patch, no import of it.  Every tensor is cloned before a block may
change it, every mean is taken over all tokens, and one prompt is run at a time.
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


class Prompt:
    """One conditioning, and what was kept of it: the last probe, the last two anchors, the last error."""

    def __init__(self, conditioning: list) -> None:
        self.context, extras = conditioning[0]
        self.pooled = extras.get("pooled_output", torch.zeros(1, 768))
        self.guidance = torch.tensor([extras.get("guidance", 0.0)])
        self.previous: Tensor | None = None
        self.anchors: list[tuple[Tensor, Tensor]] = []
        self.error: float | None = None  # of the step before, over how far the latent moved there

    def probe(self, plain: PlainFlux, x: Tensor, t: Tensor) -> float | None:
        """Run the first block; how far its result moved since the step before."""
        self.e = plain.embed(x, t, self.context, self.pooled, self.guidance)
        self.h0 = self.e.img.clone()
        self.img, self.txt = plain.block(0, self.e, self.e.img, self.e.txt)
        hm, before = self.img.clone(), self.previous
        self.q, self.previous = hm - self.h0, hm
        return None if before is None else relative_change(hm, before)

    def rest(self, plain: PlainFlux, x: Tensor, skip: bool, gamma_max: float) -> Tensor:
        """The model's output by the other blocks, or in their place by the last two steps that ran them."""
        if skip:
            (r_a, q_a), (r_b, q_b) = self.anchors
            gamma = ((self.q - q_a).abs().mean() / (q_b - q_a).abs().mean()).clamp(1.0, gamma_max)
            return plain.head(self.e, self.h0 + r_a + gamma * (r_b - r_a), x)
        img, txt = self.img, self.txt
        for i in range(1, plain.depth):
            img, txt = plain.block(i, self.e, img, txt)
        self.anchors = [*self.anchors, (img - self.h0, self.q)][-2:]
        return plain.head(self.e, img, x)


def relative_change(now: Tensor, before: Tensor) -> float:
    return ((now - before).abs().mean() / before.abs().mean()).item()


def sample_plainly(
    patcher,
    architecture: str,
    conditioning: list,
    noise: Tensor,
    sigmas: Tensor,
    threshold: float,
    gamma_max: float,
    negative: list | None = None,
    cfg: float = 1.0,
) -> tuple[Tensor, str]:
    """(model-space latent, decisions) of one caption, decisions being ``c`` for computed and ``r`` for reused steps.

    With a ``negative`` both are skipped or computed together, by the larger of the errors of the step before, scaled by
    how far the latent moved since against how far it moved then.
    """
    plain = PLAIN[architecture](patcher.model.diffusion_model)
    sampling = patcher.get_model_object("model_sampling")
    prompts = [Prompt(text) for text in (conditioning, negative) if text is not None]
    steps, warmup, x = len(sigmas) - 1, -(-(len(sigmas) - 1) // 5), noise * sigmas[0]
    total, decisions, before = 0.0, "", None
    for step in range(steps):
        t = sampling.timestep(sigmas[step : step + 1]).float()
        moved = None if before is None else relative_change(x, before)
        errors = [prompt.probe(plain, x, t) for prompt in prompts]
        if len(prompts) > 1 and step >= warmup:
            total += max(prompt.error for prompt in prompts) * moved
        elif errors[0] is not None:
            total += errors[0]
        skip = warmup <= step < steps - 1 and total < threshold
        outputs = [prompt.rest(plain, x, skip, gamma_max) for prompt in prompts]
        for prompt, error in zip(prompts, errors, strict=True):
            prompt.error = None if error is None else error / moved
        total = total if skip else 0.0
        decisions += "r" if skip else "c"
        denoised = [x - output * sigmas[step] for output in outputs]
        guided = denoised[-1] + cfg * (denoised[0] - denoised[-1]) if negative is not None else denoised[0]
        before, x = x, x + (x - guided) / sigmas[step] * (sigmas[step + 1] - sigmas[step])
    return x, decisions
