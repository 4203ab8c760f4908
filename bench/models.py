"""The host's own Flux, HunyuanVideo and Wan with random weights: at their real shapes on a GPU, narrower on a CPU.

Depth is always the real one, so that the probe's share of the blocks is.  Random weights say nothing about quality,
which is why skipped steps are forced here; they cost exactly what trained ones do.
"""

from dataclasses import dataclass
from math import prod
from typing import Any

import torch

HEAD = 128
LATENT_CHANNELS = 16


@dataclass(frozen=True)
class Shape:
    """One model and one call of it.

    Slots:
        width: channels of a hidden state.
        latent: ``([T,] H, W)`` of the latent.
        text: tokens of the prompt, each of ``text_width`` channels.
        label: what a person would call it.
    """

    width: int
    latent: tuple[int, ...]
    text: int
    text_width: int
    label: str

    @property
    def tokens(self) -> int:
        return prod(self.latent) // 4

    def larger(self, factor: int) -> "Shape":
        """``factor`` times the tokens."""
        *front, width = self.latent
        return Shape(self.width, (*front, width * factor), self.text, self.text_width, self.label)


REAL = {
    "flux": Shape(3072, (128, 128), 512, 4096, "Flux.1 dev, 1024x1024"),
    "hunyuan_video": Shape(3072, (33, 90, 160), 256, 4096, "HunyuanVideo, 720p, 129 frames"),
    "wan": Shape(5120, (21, 90, 160), 512, 4096, "Wan 14B, 720p, 81 frames"),
}
NARROW = {
    "flux": Shape(256, (32, 32), 64, 256, "Flux.1 dev's depth, 1/12 of its width"),
    "hunyuan_video": Shape(256, (5, 16, 16), 64, 256, "HunyuanVideo's depth, 1/12 of its width"),
    "wan": Shape(256, (7, 16, 16), 64, 256, "Wan 14B's depth, 1/20 of its width"),
}


def shapes(device: torch.device) -> dict[str, Shape]:
    return REAL if device.type == "cuda" else NARROW


def dtype_of(device: torch.device) -> torch.dtype:
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def build(architecture: str, shape: Shape, device: torch.device) -> Any:
    """A ModelPatcher of the host around its own model, built on ``device``."""
    import comfy.model_patcher
    import comfy.supported_models as supported

    cls = {"flux": supported.Flux, "hunyuan_video": supported.HunyuanVideo, "wan": supported.WAN21_T2V}[architecture]
    config = cls(_wan(shape) if architecture == "wan" else _flux_like(architecture, shape))
    config.set_inference_dtype(dtype_of(device), None)
    model = config.get_model({}, "", device=device)
    _fill(model.diffusion_model)
    return comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=device)


def conditioning(shape: Shape, seed: int = 0) -> list:
    """CONDITIONING of one prompt."""
    generator = torch.Generator().manual_seed(seed)
    text = torch.randn(1, shape.text, shape.text_width, generator=generator)
    return [[text, {"pooled_output": torch.randn(1, 768, generator=generator), "guidance": 3.5}]]


def arguments(architecture: str, shape: Shape, batch: int, device: torch.device) -> dict[str, Any]:
    """Arguments of one direct call of the diffusion model beside ``transformer_options``."""
    ((text, extras),) = conditioning(shape)
    place = dict(device=device, dtype=dtype_of(device))
    call = dict(
        x=torch.randn(batch, LATENT_CHANNELS, *shape.latent, generator=torch.Generator().manual_seed(1)).to(**place),
        timestep=torch.full((batch,), 0.5, **place),
        context=text.expand(batch, -1, -1).to(**place),
    )
    if architecture != "wan":
        call |= dict(
            y=extras["pooled_output"].expand(batch, -1).to(**place), guidance=torch.full((batch,), 3.5, **place)
        )
    return call


def _flux_like(architecture: str, shape: Shape) -> dict[str, Any]:
    """Shared by Flux and HunyuanVideo; the numbers are those the host reads off the published checkpoints."""
    flux = architecture == "flux"
    settings = dict(
        image_model=architecture, in_channels=LATENT_CHANNELS, out_channels=LATENT_CHANNELS, vec_in_dim=768,
        context_in_dim=shape.text_width, hidden_size=shape.width, mlp_ratio=4.0, num_heads=shape.width // HEAD,
        depth=19 if flux else 20, depth_single_blocks=38 if flux else 40, axes_dim=[16, 56, 56],
        theta=10000 if flux else 256, patch_size=2 if flux else [1, 2, 2], qkv_bias=True, guidance_embed=True,
    )  # fmt: skip
    if flux:
        return settings | dict(txt_ids_dims=[])
    return settings | dict(
        byt5=False, meanflow=False, use_cond_type_embedding=False, vision_in_dim=None, meanflow_sum=False
    )


def _wan(shape: Shape) -> dict[str, Any]:
    return dict(
        image_model="wan2.1", model_type="t2v", dim=shape.width, out_dim=LATENT_CHANNELS, in_dim=LATENT_CHANNELS,
        num_heads=shape.width // HEAD, ffn_dim=shape.width * 27 // 10, num_layers=40, patch_size=(1, 2, 2),
        freq_dim=256, window_size=(-1, -1), qk_norm=True, cross_attn_norm=True, eps=1e-6, text_dim=shape.text_width,
    )  # fmt: skip


def _fill(model: torch.nn.Module) -> None:
    """Weights that keep a hidden state's size from block to block."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2:
                parameter.normal_(0, 0.5 * parameter[0].numel() ** -0.5)
            else:
                parameter.fill_(1.0 if "norm" in name and name.endswith(("weight", "scale")) else 0.0)
            parameter.requires_grad_(False)
