"""Toys as the host samples them: in its own ``BaseModel`` and ``ModelPatcher``, with its conditioning.

The host's detection has fixed widths for most, so the network is put into a model that was made without one; all else
is the host's own: prediction type, schedule, what a model makes of its conditioning.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import test_unet
import torch
import toys
import toys_keyed
from host_network import TEXT, build, noise, text
from torch import Tensor
from toy import Toy


@dataclass(frozen=True)
class Sampled:
    """A family and how the host samples it.

    Attributes:
        config: its class in ``comfy.supported_models``.
        make: the toy, whose conditioning is ``arguments["context"]``, a row for the positive and one for the negative.
        extras: of the conditioning, from the toy's arguments: what the host's own text nodes put there.
        weights: what ``get_model`` of the configuration reads of a checkpoint beside the network.
        constant: whether an unchanging network means an unchanging direction of the sampler (flow, eps).
    """

    config: str
    make: Callable[[], Toy]
    extras: Callable[[Toy, int], dict[str, Any]] = lambda toy, row: {}
    weights: Callable[[], dict[str, Tensor]] = dict
    constant: bool = True

    def __str__(self) -> str:
        return self.make.__name__


class HostModel:
    """One such family in the real sampler; ``model`` is a ModelPatcher, ``blocks`` its stack in order."""

    def __init__(self, spec: Sampled) -> None:
        self.spec, self.toy = spec, spec.make()
        supported = importlib.import_module("comfy.supported_models")
        if not hasattr(supported, spec.config):
            pytest.skip(f"this ComfyUI has no comfy.supported_models.{spec.config}")
        config = getattr(supported, spec.config)({"disable_unet_model_creation": True, "in_channels": 4})
        config.latent_format = importlib.import_module("comfy.latent_formats").LatentFormat()
        config.set_inference_dtype(torch.float32, None)
        base = config.get_model(spec.weights())
        base.diffusion_model = self.toy.model
        patcher = importlib.import_module("comfy.model_patcher").ModelPatcher
        self.base = base
        self.model = patcher(base, load_device=torch.device("cpu"), offload_device=torch.device("cpu"))

    def cond(self, row: int) -> list:
        """CONDITIONING: row 0 is the positive prompt, row 1 the negative one."""
        one = slice(row, row + 1)
        return [[self.toy.arguments["context"][one], self.spec.extras(self.toy, row)]]

    @property
    def latent(self) -> Any:
        """An empty one; of several latents the host's nested kind."""
        if isinstance(self.toy.x, Tensor):
            return torch.zeros_like(self.toy.x[:1])
        nested = importlib.import_module("comfy.nested_tensor").NestedTensor
        return nested([torch.zeros_like(part[:1]) for part in self.toy.x])

    def sample(self, model: Any, steps: int, scheduler: str = "simple", cfg: float = 1.5) -> Tensor:
        """By ``comfy.sample.sample``; several latents as one row of numbers."""
        host, latent = importlib.import_module("comfy.sample"), self.latent
        with torch.inference_mode():
            out = host.sample(
                model, host.prepare_noise(latent, 0), steps, cfg, "euler", scheduler, self.cond(0), self.cond(1),
                latent, disable_pbar=True, seed=0,
            )  # fmt: skip
        return torch.cat([part.flatten() for part in out.unbind()]) if out.is_nested else out

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """The network sees the same input and the same time on every step."""
        first: list[Tensor] = []
        scaled, timed = self.base.model_sampling.calculate_input, self.base.process_timestep

        def calculate_input(sigma: Tensor, x: Tensor) -> Tensor:
            first.append(scaled(sigma, x)[:1].clone())
            return first[0].expand(len(x), *x.shape[1:]).clone()

        vars(self.base.model_sampling)["calculate_input"] = calculate_input
        vars(self.base)["process_timestep"] = lambda t, **more: timed(torch.full_like(t, 0.5), **more)
        try:
            yield
        finally:
            del vars(self.base.model_sampling)["calculate_input"], vars(self.base)["process_timestep"]


def _row(toy: Toy, name: str, row: int) -> Tensor:
    return toy.arguments[name][row : row + 1]


def pooled(toy: Toy, row: int) -> dict[str, Any]:
    return {"pooled_output": _row(toy, "y", row)}


def references(toy: Toy, _row: int) -> dict[str, Any]:
    return {"reference_latents": [part[:1] for part in toy.arguments["ref_latents"]]}


def masked(_toy: Toy, _row: int) -> dict[str, Any]:
    return {"attention_mask": torch.ones(1, TEXT, dtype=torch.long)}


def masked_with_references(toy: Toy, row: int) -> dict[str, Any]:
    return masked(toy, row) | references(toy, row)


def llama(toy: Toy, row: int) -> dict[str, Any]:
    return pooled(toy, row) | {"conditioning_llama3": _row(toy, "encoder_hidden_states_llama3", row)}


def sd_1(**more: Any) -> Toy:
    """Of two sizes of picture: enough for a deep part, and quick."""
    depths = dict(transformer_depth=[0, 1], transformer_depth_output=[0, 0, 1, 1])
    model = test_unet._unet(num_res_blocks=1, channel_mult=(1, 2), **depths, **more)
    return Toy(model, noise(2, 4, 8, 8), dict(context=text(12), y=noise(2, 6, seed=3)))


def sdxl() -> Toy:
    """With the six numbers of size and crop that the host adds to the pooled prompt, 256 values each."""
    return sd_1(num_classes="sequential", adm_in_channels=6 + 6 * 256, use_linear_in_transformer=True)


def pixart() -> Toy:
    """A narrow picture: the host wants edges of 64 on the whole, and few tokens are enough."""
    toy = toys.pixart()
    toy.x = noise(2, 4, 64, 4)
    return toy


def stable_audio() -> Toy:
    """With the host's own embedding of seconds, 768 values each for begin and length."""
    settings = dict(io_channels=4, embed_dim=64, cond_token_dim=768, global_cond_dim=2 * 768, depth=4, num_heads=1)
    model = build("audio.dit.AudioDiffusionTransformer", **settings, project_cond_tokens=True)
    return Toy(model, noise(2, 4, 10), dict(context=text(768)))


def cascade() -> Toy:
    """Stable Cascade's stage C: a tree of blocks and no stack, and in no family."""
    settings = dict(c_in=4, c_out=4, c_r=16, c_cond=32, c_hidden=[32, 32], nhead=[2, 2], blocks=[[1, 1], [1, 1]])
    model = build("cascade.stage_c.StageC", **settings, c_clip_text=12, c_clip_text_pooled=6)
    return Toy(model, noise(2, 4, 8, 8), dict(context=text(12), y=noise(2, 1, 6, seed=3)))


def seconds() -> dict[str, Tensor]:
    """Of the embedding of seconds, at random."""
    module = importlib.import_module("comfy.ldm.audio.embedders")
    embedder = module.NumberConditioner(768, min_val=0, max_val=512)
    generator = torch.Generator().manual_seed(3)
    place = "conditioner.conditioners.seconds_{}.{}"
    return {
        place.format(which, name): torch.randn(value.shape, generator=generator) * 0.1
        for which in ("start", "total")
        for name, value in embedder.state_dict().items()
    }


U_NETS = [Sampled("SD15", sd_1), Sampled("SDXL", sdxl, pooled)]
STACKS = [
    Sampled("QwenImage", toys_keyed.qwen_image),
    Sampled("QwenImage", toys_keyed.qwen_image_edit, references),
    Sampled("Lumina2", toys.lumina_2),
    Sampled("ZImage", toys.z_image),
    Sampled("LTXV", toys_keyed.ltx_video, masked),
    Sampled("LTXAV", toys_keyed.ltx_2),
    Sampled("SD3", toys_keyed.stable_diffusion_3, pooled),
    Sampled("AuraFlow", toys_keyed.aura_flow),
    Sampled("HiDream", toys.hidream_i1, llama),
    Sampled("CosmosT2IPredict2", toys.cosmos_predict_2, constant=False),
    Sampled("Krea2", toys.krea_2),
    Sampled("GenmoMochi", toys_keyed.mochi, masked),
    Sampled("Kandinsky5Image", toys.kandinsky_5, pooled),
    Sampled("PixArtAlpha", pixart),
    Sampled("StableAudio", stable_audio, weights=seconds, constant=False),
    Sampled("CogVideoX_T2V", toys.cogvideox, constant=False),
    Sampled("Omnigen2", toys.omnigen_2, masked_with_references),
    Sampled("CosmosT2V", toys.cosmos_1, constant=False),
    Sampled("ErnieImage", toys.ernie_image),
    Sampled("Hunyuan3Dv2", toys_keyed.hunyuan_3d),
]
