"""Models whose forwards run inside a graph of the Comfy Compiler, in the call order of ComfyUI's newest public files.

A few kilobytes each, with random weights.  They go by the name of the class that they stand for, as families are found
by it, and allocate the same on every pass.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

WIDTH, DEPTH, TEXT = 16, 6, 3
CPU = torch.device("cpu")


class Block(nn.Module):
    """Mixes tokens and channels, and adds to its input in place."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.gate = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def work(self, x: Tensor, temb: Tensor) -> Tensor:
        tokens = x.softmax(dim=-2).mean(dim=-2, keepdim=True)
        return x.add_(torch.tanh(self.mix(x + tokens)) * (0.3 * self.gate(temb)))


class H3Block(Block):
    """``x`` is ``(S, D)``, without a batch."""

    def forward(self, x, t_emb, mod_segments, rope_freqs, transformer_options={}, attention=None):  # noqa: B006
        return self.work(x, t_emb)


class QwenBlock(Block):
    """``x`` is ``(B, S, D)``."""

    def forward(self, x, mod, pe, attn_fn, prefix_len, transformer_options={}):  # noqa: B006
        return self.work(x, mod)


class Network(nn.Module):
    """``depth`` blocks between two projections."""

    def __init__(self, block: type[Block], channels: int) -> None:
        super().__init__()
        self.dtype = torch.float32
        self.time, self.into, self.out = nn.Linear(1, WIDTH), nn.Linear(channels, WIDTH), nn.Linear(WIDTH, channels)
        self.stack = nn.ModuleList(block() for _ in range(DEPTH))
        generator = torch.Generator().manual_seed(3)
        for parameter in self.parameters():
            parameter.requires_grad_(False)
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)

    def around(self, call: Callable[..., Any], options: dict) -> Any:
        extension = importlib.import_module("comfy.patcher_extension")
        found = extension.get_all_wrappers(extension.WrappersMP.DIFFUSION_MODEL, options)
        return extension.WrapperExecutor.new_class_executor(call, self, found)


def compiler() -> Any:
    return sys.modules["comfy.model_prefetch"]


def begin(network: nn.Module, device: torch.device) -> None:
    """0.34 asks for the network too."""
    opened = compiler().malloc_graph_begin
    opened(*([network, device][-len(inspect.signature(opened).parameters) :]))


class H3(Network):
    """The graph is open before a wrapper inside the model is called.  Two latents, video and sound, made of one."""

    cores = False  # whether blocks are handed over, to be replayed

    def __init__(self) -> None:
        super().__init__(H3Block, channels=4)
        self.blocks, self.patch_size, self.latents_dim, self.hidden_size = self.stack, (1, 1, 1), 4, WIDTH

    def forward(self, x, timestep, context, transformer_options={}, **kwargs):  # noqa: B006
        parts = [x, x[:, :, :1, :1]]
        compiled = compiler().malloc_graph_enabled(x.device)
        if compiled:
            out = [torch.empty_like(part) for part in parts]
            begin(self, x.device)
        made = self.around(self._forward, transformer_options).execute(
            parts, timestep, context, transformer_options, **kwargs
        )
        if not compiled:
            return made[0]
        for whole, part in zip(out, made, strict=True):
            whole.copy_(part)
        del made, part
        compiler().malloc_graph_end()
        return out[0]

    def _forward(self, x, timestep, context, transformer_options={}, **kwargs):  # noqa: B006
        rows = [part.flatten(2)[0].T for part in x]
        h = torch.cat([context[0], *map(self.into, reversed(rows))])  # text, sound, video
        temb = self.time(timestep[:1, None])
        queue = compiler().make_prefetch_queue(list(self.blocks), h.device, transformer_options)
        replaced = transformer_options.get("patches_replace", {}).get("dit", {})
        for i, block in enumerate(self.blocks):
            h = self._run(queue, i, block, h, temb, transformer_options, replaced.get(("double_block", i)))
        compiler().prefetch_queue_pop(queue, h.device, None, malloc_scope="block")
        sound, video = self.out(h[TEXT:]).T.split([row.shape[0] for row in reversed(rows)], dim=1)
        return [video.reshape(x[0].shape), sound.reshape(x[1].shape)]

    def _run(self, queue, i, block, h, temb, options, replacement):
        if self.cores:
            kept = h  # replayed kernels write where the recorded ones wrote

            def core():
                kept.copy_(block(kept, temb, [], None, transformer_options=options))

            compiler().prefetch_queue_pop(
                queue, h.device, block, h.dtype, core=core, enable_graph=True, malloc_scope="block"
            )
            return kept
        compiler().prefetch_queue_pop(queue, h.device, block, malloc_scope="block")
        if replacement is None:
            return block(h, temb, [], None, transformer_options=options)
        original = lambda args: {"img": block(args["img"], temb, [], None, transformer_options=options)}  # noqa: E731
        args = {"img": h, "t_emb": temb, "mod_segments": [], "rope_freqs": None, "transformer_options": options}
        return replacement(args, {"original_block": original})["img"]


class H3Replayed(H3):
    cores = True


class Qwen21(Network):
    """The graph opens inside the model, before its blocks.

    With ``keeps_prefix`` the first pass runs them on the prompt alone, outside the graph, and later ones leave it out.
    """

    keeps_prefix = False

    def __init__(self) -> None:
        super().__init__(QwenBlock, channels=4)
        self.transformer_blocks, self.inner_dim = self.stack, WIDTH
        self.kept: list[Tensor] = []  # stands for the prompt's keys and values

    def forward(self, x, timestep, context, transformer_options={}, **kwargs):  # noqa: B006
        return self.around(self._forward, transformer_options).execute(
            x, timestep, context, transformer_options, **kwargs
        )

    def _forward(self, x, timesteps, context, transformer_options={}, **kwargs):  # noqa: B006
        rows, mod, prefix = self.into(x.flatten(2).transpose(1, 2)), self.time(timesteps[:, None])[:, None], TEXT
        h, fills = torch.cat([context, rows], dim=1), self.keeps_prefix and not self.kept
        if self.keeps_prefix:
            h, text, prefix = rows, context.clone(), 0
        queue = compiler().make_prefetch_queue(list(self.transformer_blocks), x.device, transformer_options)
        begin(self, x.device)
        for block in self.transformer_blocks:
            compiler().prefetch_queue_pop(queue, x.device, block, x.dtype, malloc_scope="block")
            if fills:
                with compiler().pause_malloc_graph():
                    text = block(text, torch.zeros_like(mod), None, None, text.shape[1], transformer_options)
                    self.kept.append(text.clone())
            h = block(h, mod, None, None, prefix, transformer_options)
        compiler().prefetch_queue_pop(queue, x.device, None, malloc_scope="block")
        compiler().malloc_graph_end()
        return self.out(h[:, prefix:]).transpose(1, 2).reshape(x.shape)


class Qwen21Prefix(Qwen21):
    keeps_prefix = True


for made, stands_for in {
    H3: "comfy.ldm.minimax.model.MiniMaxH3Model",
    H3Replayed: "comfy.ldm.minimax.model.MiniMaxH3Model",
    Qwen21: "comfy.ldm.qwen_image21.model.QwenImage21Transformer2DModel",
    Qwen21Prefix: "comfy.ldm.qwen_image21.model.QwenImage21Transformer2DModel",
}.items():
    made.__module__, _, made.__qualname__ = stands_for.rpartition(".")

TOYS: dict[str, type[Network]] = {
    "h3": H3,
    "h3, blocks replayed": H3Replayed,
    "qwen 2.1": Qwen21,
    "qwen 2.1, prompt kept": Qwen21Prefix,
}


class CompiledModel:
    """One of them in the host's own ``BaseModel`` and sampler."""

    def __init__(self, kind: str, device: torch.device = CPU) -> None:
        base, supported = (importlib.import_module(f"comfy.{name}") for name in ("model_base", "supported_models"))
        config = supported.Lumina2({"disable_unet_model_creation": True, "in_channels": 4})
        config.latent_format = importlib.import_module("comfy.latent_formats").LatentFormat()
        config.set_inference_dtype(torch.float32, None)
        made = base.BaseModel(config, base.ModelType.FLOW)
        made.diffusion_model = self.network = TOYS[kind]()
        patcher = importlib.import_module("comfy.model_patcher").ModelPatcher
        self.model = patcher(made, load_device=device, offload_device=CPU)
        video = kind.startswith("h3")
        self.latent = torch.zeros(1, 4, *((2, 3, 4) if video else (4, 4)))
        self.context = torch.randn(1, TEXT, WIDTH, generator=torch.Generator().manual_seed(5))

    def sample(self, model: Any, steps: int, seed: int = 0, callback: Callable[..., None] | None = None) -> Tensor:
        host = importlib.import_module("comfy.sample")
        if isinstance(self.network, Qwen21):
            self.network.kept.clear()  # the host keeps it for one run
        cond = [[self.context, {}]]
        with torch.inference_mode():
            return host.sample(
                model, host.prepare_noise(self.latent, seed), steps, 1.0, "euler", "simple", cond, cond, self.latent,
                disable_pbar=True, seed=seed, callback=callback,
            )  # fmt: skip
