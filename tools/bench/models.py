"""The host's own Flux, Wan and SDXL with random weights: at their real shapes on a GPU, narrower on a CPU.

Depth is always the real one, so that the probe's share of the blocks is.  Random weights say nothing about quality,
which is why skipped steps are forced here; they cost exactly what trained ones do.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch

HEAD = 128


@dataclass(frozen=True)
class Shape:
    """One model and one call of it.

    Attributes:
        width: channels of a hidden state; of a U-Net those of its outermost blocks.
        latent: ``([T,] H, W)`` of the latent.
        text: tokens of the prompt, each of ``text_width`` channels.
        label: what a person would call it.
        channels: of the latent.
        pooled: numbers of the prompt's pooled embedding.
    """

    width: int
    latent: tuple[int, ...]
    text: int
    text_width: int
    label: str
    channels: int = 16
    pooled: int = 768

    def smaller(self, factor: int) -> "Shape":
        """A ``factor``th of the tokens."""
        *front, width = self.latent
        return replace(self, latent=(*front, width // factor))

    def tiny(self) -> "Shape":
        """The same in the fewest channels and a corner of the latent."""
        return replace(self, width=min(self.width, HEAD), latent=(*self.latent[:-2], 8, 8))

    def noise(self, batch: int = 1) -> tuple[int, ...]:
        """``(N, C, [T,] H, W)`` of what is sampled."""
        return (batch, self.channels, *self.latent)


SDXL = {"channels": 4, "pooled": 1280}
REAL = {
    "flux": Shape(3072, (128, 128), 512, 4096, "Flux.1 dev, 1024x1024"),
    "wan": Shape(5120, (21, 90, 160), 512, 4096, "Wan 14B, 720p, 81 frames"),
    "sdxl": Shape(320, (128, 128), 77, 2048, "SDXL, 1024x1024", **SDXL),
}
NARROW = {
    "flux": Shape(256, (24, 24), 64, 256, "Flux.1 dev's depth, 1/12 of its width"),
    "wan": Shape(256, (4, 16, 16), 64, 256, "Wan 14B's depth, 1/20 of its width"),
    "sdxl": Shape(64, (32, 32), 77, 256, "SDXL's depth, 1/5 of its width", **SDXL),
}
# Numbers of networks with few blocks, where nothing is timed.
SHALLOW = {
    "flux": {"depth": 2, "depth_single_blocks": 2},
    "wan": {"num_layers": 3},
    "sdxl": {
        "channel_mult": [1, 1, 1],
        "transformer_depth": [0, 0, 1, 1, 1, 1],
        "transformer_depth_middle": 1,
        "transformer_depth_output": [0, 0, 0, 1, 1, 1, 1, 1, 1],
    },
}


def shapes(device: torch.device) -> dict[str, Shape]:
    return REAL if device.type == "cuda" else NARROW


def dtype_of(device: torch.device) -> torch.dtype:
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def build(architecture: str, shape: Shape, device: torch.device, **changed: Any) -> Any:
    """A ModelPatcher of the host around its own model, built on ``device``; ``changed`` are numbers of the network."""
    import comfy.model_patcher
    import comfy.supported_models as supported

    cls = {"flux": supported.Flux, "wan": supported.WAN21_T2V, "sdxl": supported.SDXL}[architecture]
    config = cls({"flux": _flux, "wan": _wan, "sdxl": _sdxl}[architecture](shape) | changed)
    config.set_inference_dtype(dtype_of(device), None)
    model = config.get_model({}, "", device=device)
    _fill(model.diffusion_model)
    return comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=device)


def conditioning(shape: Shape, batch: int = 1, seed: int = 0) -> list:
    """CONDITIONING of one prompt."""
    generator = torch.Generator().manual_seed(seed)
    text = torch.randn(1, shape.text, shape.text_width, generator=generator).expand(batch, -1, -1)
    pooled = torch.randn(1, shape.pooled, generator=generator).expand(batch, -1)
    return [[text, {"pooled_output": pooled, "guidance": 3.5}]]


def flux_control(shape: Shape, device: torch.device) -> Any:
    """A ControlNet of the host's for Flux, with the two blocks that XLabs' have, and its image set."""
    import comfy.controlnet
    import comfy.ops
    from comfy.ldm.flux.controlnet import ControlNetFlux

    settings = {**_flux(shape), "depth": 2, "depth_single_blocks": 0}
    dtype = dtype_of(device)
    network = ControlNetFlux(dtype=dtype, device=device, operations=comfy.ops.disable_weight_init, **settings)
    _fill(network)
    control = comfy.controlnet.ControlNet(network, load_device=device, extra_conds=["y", "guidance"])
    image = torch.rand(1, 3, *(8 * edge for edge in shape.latent), generator=torch.Generator().manual_seed(2))
    return control.set_cond_hint(image, strength=0.5)


def _flux(shape: Shape) -> dict[str, Any]:
    """The numbers are those that the host reads off the published checkpoint."""
    return dict(
        image_model="flux", in_channels=shape.channels, out_channels=shape.channels, vec_in_dim=shape.pooled,
        context_in_dim=shape.text_width, hidden_size=shape.width, mlp_ratio=4.0, num_heads=shape.width // HEAD,
        depth=19, depth_single_blocks=38, axes_dim=[16, 56, 56], theta=10000, patch_size=2, qkv_bias=True,
        guidance_embed=True, txt_ids_dims=[],
    )  # fmt: skip


def _sdxl(shape: Shape) -> dict[str, Any]:
    return dict(
        use_checkpoint=False, image_size=32, in_channels=shape.channels, out_channels=shape.channels,
        use_spatial_transformer=True, legacy=False, num_classes="sequential", adm_in_channels=shape.pooled + 6 * 256,
        model_channels=shape.width, num_res_blocks=[2, 2, 2], transformer_depth=[0, 0, 2, 2, 10, 10],
        channel_mult=[1, 2, 4], transformer_depth_middle=10, use_linear_in_transformer=True,
        context_dim=shape.text_width, num_head_channels=64, transformer_depth_output=[0, 0, 0, 2, 2, 2, 10, 10, 10],
        use_temporal_attention=False, use_temporal_resblock=False,
    )  # fmt: skip


def _wan(shape: Shape) -> dict[str, Any]:
    return dict(
        image_model="wan2.1", model_type="t2v", dim=shape.width, out_dim=shape.channels, in_dim=shape.channels,
        num_heads=shape.width // HEAD, ffn_dim=shape.width * 27 // 10, num_layers=40, patch_size=(1, 2, 2),
        freq_dim=256, window_size=(-1, -1), qk_norm=True, cross_attn_norm=True, eps=1e-6, text_dim=shape.text_width,
    )  # fmt: skip


def _fill(model: torch.nn.Module) -> None:
    """Weights that keep a hidden state's size from block to block."""
    torch.manual_seed(0)
    norms = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.GroupNorm) and m.weight is not None}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2:
                parameter.normal_(0, 0.5 * parameter[0].numel() ** -0.5)
            else:
                scales = id(parameter) in norms or ("norm" in name and name.endswith(("weight", "scale")))
                parameter.fill_(1.0 if scales else 0.0)
            parameter.requires_grad_(False)
