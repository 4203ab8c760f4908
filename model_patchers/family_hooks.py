"""What some families need beyond data: where the image's tokens are, modulated inputs, work beside the stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from torch import Tensor, nn

from .family import Arguments, SideWork, patch_edges, patches_in

TokenSlice = Callable[[nn.Module, Arguments], slice]

FACE_INTERVAL = 5  # AnimateWanModel runs its face adapter after every fifth block, from the first on

# ---------------------------------------------------------------- the image's tokens


def first(patch: str | int) -> TokenSlice:
    """The first tokens, as many as the input ``x`` has patches; references follow them."""

    def picture(network: nn.Module, call: Arguments) -> slice:
        return slice(0, patches_in(network, call["x"].shape, patch))

    return picture


def last(patch: str | int) -> TokenSlice:
    """The last tokens, as many as the input ``x`` has patches; text, references and registers come before them."""

    def picture(network: nn.Module, call: Arguments) -> slice:
        return slice(-patches_in(network, call["x"].shape, patch), None)

    return picture


def joyimage(network: nn.Module, call: Arguments) -> slice:
    return slice(0, patches_in(network, call["hidden_states"].shape, "patch_size"))


def behind_the_text(network: nn.Module, call: Arguments) -> slice:
    """Krea 2: text, image, references."""
    text = call["context"].shape[1]
    return slice(text, text + patches_in(network, call["x"].shape, "patch"))


def before_padding(network: nn.Module, call: Arguments) -> slice:
    """Lumina: text, references, the image, and tokens that fill it up to a whole number of groups (Z-Image)."""
    tokens = patches_in(network, call["x"].shape, "patch_size")
    padding = -tokens % (network.pad_tokens_multiple or 1)
    return slice(-tokens - padding, -padding or None)


def hidream_o1(network: nn.Module, call: Arguments) -> slice:
    """The prompt, which is left out once its keys are cached, the image, and its references."""
    references = 0 if call["ref_patches"] is None else call["ref_patches"].shape[1]
    tokens = prod(size // network.patch_size for size in call["x"].shape[-2:])
    return slice(-tokens - references, -references or None)


def minimax(network: nn.Module, call: Arguments) -> slice:
    """Text and references, then sound and video, which are both made here."""
    video, sound = call["x"]
    return slice(-patches_in(network, video.shape, "patch_size") - sound.shape[2] * sound.shape[3], None)


def behind_the_reference(network: nn.Module, call: Arguments) -> slice:
    """HunyuanVideo: the reference image's tokens (image to video) come before the video's own."""
    reference = call["ref_latent"]
    return slice(0 if reference is None else patches_in(network, reference.shape, "patch_size"), None)


def wan(network: nn.Module, call: Arguments) -> slice:
    """``ref_conv`` tokens, the video's own, frames joined in time, then context, reference and motion tokens.

    Only the video's own survive the head: the host cuts the ones in front off and keeps as many as the latent has.
    The reference is an image ``(N, C, h, w)``, which a ``ref_conv`` puts in front without padding it.
    """
    reference, start = call.get("reference_latent"), 0
    if network.ref_conv is not None and reference is not None:
        edges = patch_edges(network, "patch_size", 2)
        start = prod(size // edge for size, edge in zip(reference.shape[2:], edges, strict=True))
    return slice(start, start + patches_in(network, call["x"].shape, "patch_size"))


def scail(network: nn.Module, call: Arguments) -> slice:
    """SCAIL puts its reference frames ``(N, C, t, h, w)`` in front of the video's; pose tokens follow behind."""
    reference = call.get("reference_latent")
    start = 0 if reference is None else patches_in(network, reference.shape, "patch_size")
    return slice(start, start + patches_in(network, call["x"].shape, "patch_size"))


# ---------------------------------------------------------------- the order of samples


def swapped_halves(call: Arguments, samples: int) -> Sequence[int] | None:
    """Hunyuan3D 2.1 swaps the halves of its conds, not of its input, and swaps the output's back."""
    return _halves(samples) if call["context"].shape[0] >= 2 else None


def swapped_conds(call: Arguments, samples: int) -> Sequence[int] | None:
    """SeedVR2 does so where cond and uncond share a batch."""
    conds = call["transformer_options"].get("cond_or_uncond")
    return None if conds and len(set(conds)) == 1 else _halves(samples)


def _halves(samples: int) -> Sequence[int]:
    half = -(-samples // 2)  # as torch.chunk divides
    return [*range(half, samples), *range(half)]


# ---------------------------------------------------------------- blocks left out, blocks that have to run


def chroma_leaves_out(network: nn.Module) -> set[tuple[str, int]]:
    """Blocks that a checkpoint of Chroma does without."""
    return {("double_block", i) for i in network.skip_mmdit} | {("single_block", i) for i in network.skip_dit}


def fills_its_cache(block: Arguments) -> bool:
    """HiDream O1 keeps the prompt's keys from the first pass on: that pass needs every block's."""
    return block.get("past_key_value") == ()


def fills_the_prefix(block: Arguments) -> bool:
    """Qwen-Image 2.1 keeps keys and values of prompt and references for a run: once each block runs on them alone."""
    return block["prefix_len"] == block["x"].shape[1]


# ---------------------------------------------------------------- modulated input of the first block


def flux_modulated(network: nn.Module, block: Arguments) -> Tensor:
    module, vec = network.double_blocks[0], block["vec"]
    modulation = module.img_mod(vec)[0] if module.modulation else vec[0][0]
    # References may be modulated for time zero, as a second row; the image's own tokens take the first.
    scale, shift = modulation.scale[:, :1], modulation.shift[:, :1]
    return module.img_norm1(block["img"]) * (1 + scale) + shift


def chroma_modulated(network: nn.Module, block: Arguments) -> Tensor:
    modulation = block["vec"][0][0]
    return network.double_blocks[0].img_norm1(block["img"]) * (1 + modulation.scale) + modulation.shift


def hunyuan_modulated(network: nn.Module, block: Arguments) -> Tensor:
    from comfy.ldm.flux.layers import apply_mod  # here: a ComfyUI without it lacks this rule, and no more

    module = network.double_blocks[0]
    modulation = module.img_mod(block["vec"])[0]
    normed = module.img_norm1(block["img"])
    return apply_mod(normed, 1 + modulation.scale, modulation.shift, block.get("modulation_dims_img"))


def wan_modulated(network: nn.Module, block: Arguments) -> Tensor:
    from comfy.ldm.wan.model import repeat_e

    module, x = network.blocks[0], block["x"]
    e = block["e"] if "e" in block else block["vec"]  # the host's name for it where a block is replaced
    per_time = e if e.ndim == 4 else e.unsqueeze(1)  # (N, times, 6, D)
    modulation = module.modulation.to(x) + per_time  # (1, 6, D) + (N, times, 6, D)
    shift, scale = (repeat_e(modulation[:, :, i], x) for i in (0, 1))
    return module.norm1(x) * (1 + scale) + shift


# ---------------------------------------------------------------- work beside the stack


def wan_side_work(network: nn.Module, last: int, _block: Arguments) -> list[SideWork]:
    return [work for find in (_vace, _audio, _face) for work in find(network, last)]


def _vace(network: nn.Module, last: int) -> list[SideWork]:
    """VACE blocks form a chain: where the last one acts after the stack, all those before it are needed too."""
    layers = getattr(network, "vace_layers_mapping", None)
    return [] if layers is None or last in layers else [SideWork(network, "vace_layers_mapping", {})]


def _audio(network: nn.Module, last: int) -> list[SideWork]:
    """Speech (S2V) and music (WanDancer) are injected after each of some blocks, independently of one another."""
    injectors = [getattr(network, name) for name in ("audio_injector", "music_injector") if hasattr(network, name)]
    return [
        SideWork(injector, "injected_block_id", {i: n for i, n in injector.injected_block_id.items() if i == last})
        for injector in injectors
    ]


def _face(network: nn.Module, last: int) -> list[SideWork]:
    """Faces (Animate) are attended to after every fifth block, independently of one another."""
    if not hasattr(network, "face_adapter"):
        return []
    busy = network.face_adapter.fuser_blocks
    needed = last // FACE_INTERVAL if last % FACE_INTERVAL == 0 else -1
    idle = nn.ModuleList(block if i == needed else _Adds(0.0) for i, block in enumerate(busy))
    return [SideWork(network.face_adapter, "fuser_blocks", idle)]


def pose_branch(network: nn.Module, _last: int, block: Arguments) -> list[SideWork]:
    """Wan Animate 2 works out a pose for each block, which only the blocks look at, and the host's own cache of it.

    That cache is filled by a pass that runs the branch to its end, so the branch goes on where there is one.
    """
    idle = {"kv_from_input": _no_pose_keys}
    if block["transformer_options"].get("animate2_cache") is None:
        idle["forward_pose"] = _pose_as_it_is
    return [SideWork(module, name, instead) for module in network.blocks for name, instead in idle.items()]


def _no_pose_keys(*_args: object, **_kwargs: object) -> tuple[None, None]:
    return None, None


def _pose_as_it_is(pose: Tensor, *_args: object, **_kwargs: object) -> tuple[Tensor, None, None]:
    return pose, None, None


def triposplat_positions(network: nn.Module, _last: int, _block: Arguments) -> list[SideWork]:
    """A network of its own works out each block's positions, which nothing but the block looks at."""
    idle = nn.ModuleList(_Adds(None) for _ in network.repo_layers)
    return [SideWork(network, "repo_layers", idle)]


class _Adds(nn.Module):
    """Stands in for a module whose result is added to the hidden state, or not looked at."""

    def __init__(self, nothing: float | None) -> None:
        super().__init__()
        self.nothing = nothing

    def forward(self, *args: object) -> float | None:
        return self.nothing
