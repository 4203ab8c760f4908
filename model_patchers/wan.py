"""Wan 2.1 and 2.2 as ComfyUI runs them: every class of ``comfy.ldm.wan`` whose block loop takes replacements."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from comfy.ldm.wan.model import repeat_e
from torch import Tensor, nn

from .adapter import Adapter, patches_of
from .blocks import Block, BlockArgs, SideWork, TokenSpan

FACE_INTERVAL = 5  # AnimateWanModel runs its face adapter after every fifth block, from the first on


class WanAdapter(Adapter):
    """Sequence: ``ref_conv`` tokens, the video's own, frames joined in time, then context, reference and motion tokens.

    Only the video's own survive the head: the host cuts the ones in front off and keeps as many as the latent has.
    """

    name = "wan"
    models = (
        "comfy.ldm.wan.model.WanModel",
        "comfy.ldm.wan.model.VaceWanModel",
        "comfy.ldm.wan.model.CameraWanModel",
        "comfy.ldm.wan.model.WanModel_S2V",
        "comfy.ldm.wan.model.HumoWanModel",
        "comfy.ldm.wan.model_animate.AnimateWanModel",
        "comfy.ldm.wan.model_wandancer.WanDancerModel",
        "comfy.ldm.wan.ar_model.CausalWanModel",
    )

    # Humo's blocks take sound from outside their arguments, the others mix more into the batch between blocks or keep
    # a history of it.
    entangled = tuple(name for name in models if not name.endswith((".WanModel", ".CameraWanModel")))

    def width(self, model: nn.Module) -> int:
        return model.dim

    def blocks(self, model: nn.Module) -> list[Block]:
        return [Block(("double_block", i)) for i in range(len(model.blocks))]

    def span(self, model: nn.Module, call: Mapping[str, Any]) -> TokenSpan:
        start = self.tokens_in_front(model, call["kwargs"].get("reference_latent"))
        return TokenSpan(start, start + prod(map(patches_of, call["x"].shape[2:], model.patch_size)))

    def tokens_in_front(self, model: nn.Module, reference: Tensor | None) -> int:
        """Tokens of the reference picture ``(N, C, h, w)`` that a ``ref_conv``, which pads nothing, puts in front."""
        if model.ref_conv is None or reference is None:
            return 0
        return prod(size // patch for size, patch in zip(reference.shape[2:], model.patch_size[1:], strict=True))

    def modulated(self, model: nn.Module, args: BlockArgs) -> Tensor:
        block, img, vec = model.blocks[0], args["img"], args["vec"]
        per_time = vec if vec.ndim == 4 else vec.unsqueeze(1)  # (N, times, 6, D)
        modulation = block.modulation.to(img) + per_time  # (1, 6, D) + (N, times, 6, D)
        shift, scale = (repeat_e(modulation[:, :, i], img) for i in (0, 1))
        return block.norm1(img) * (1 + scale) + shift

    def side_work(self, model: nn.Module, last: int) -> list[SideWork]:
        return [work for find in (_vace, _audio, _face) for work in find(model, last)]


class ScailAdapter(WanAdapter):
    """SCAIL puts its reference frames ``(N, C, t, h, w)`` in front of the video's; pose tokens follow behind."""

    models = (
        "comfy.ldm.wan.model.SCAILWanModel",
        "comfy.ldm.wan.model.SCAIL2WanModel",
    )
    entangled = models

    def tokens_in_front(self, model: nn.Module, reference: Tensor | None) -> int:
        return 0 if reference is None else prod(map(patches_of, reference.shape[2:], model.patch_size))


def _vace(model: nn.Module, last: int) -> list[SideWork]:
    """VACE blocks form a chain: where the last one acts behind the stack, all those before it are needed too."""
    layers = getattr(model, "vace_layers_mapping", None)
    return [] if layers is None or last in layers else [SideWork(model, "vace_layers_mapping", {})]


def _audio(model: nn.Module, last: int) -> list[SideWork]:
    """Speech (S2V) and music (WanDancer) are injected after each of some blocks, independently of one another."""
    injectors = [getattr(model, name) for name in ("audio_injector", "music_injector") if hasattr(model, name)]
    return [
        SideWork(injector, "injected_block_id", {i: n for i, n in injector.injected_block_id.items() if i == last})
        for injector in injectors
    ]


def _face(model: nn.Module, last: int) -> list[SideWork]:
    """Faces (Animate) are attended to after every fifth block, independently of one another."""
    if not hasattr(model, "face_adapter"):
        return []
    busy = model.face_adapter.fuser_blocks
    needed = last // FACE_INTERVAL if last % FACE_INTERVAL == 0 else -1
    idle = nn.ModuleList(block if i == needed else _AddsNothing() for i, block in enumerate(busy))
    return [SideWork(model.face_adapter, "fuser_blocks", idle)]


class _AddsNothing(nn.Module):
    """Stands in for a block whose result is added to the hidden state."""

    def forward(self, *args: Any) -> float:
        return 0.0
