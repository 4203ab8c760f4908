"""The nodes of the pack: declarations only."""

from __future__ import annotations

from dataclasses import replace

from comfy_api.latest import ComfyExtension, io

from .dicache_core import CacheConfig, published
from .model_patchers import adapter_for, attach


class DiCacheApply(io.ComfyNode):
    """Puts the cache around a model's sampling."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiCacheApply",
            display_name="DiCache Apply",
            category="model/acceleration",
            description=(
                "Samples faster by skipping most blocks of the model on steps where the model itself shows that it is "
                "safe (DiCache). Put it between the model loader (after LoRAs) and the sampler."
            ),
            search_aliases=["dicache", "cache", "speed up", "accelerate", "teacache", "faster"],
            inputs=[
                io.Model.Input("model", tooltip="The model to speed up: Flux, Chroma, HunyuanVideo or Wan."),
                io.Float.Input(
                    "threshold",
                    default=-1.0,
                    min=-1.0,
                    max=10.0,
                    step=0.01,
                    tooltip=(
                        "How much accumulated change a skipped step may have. -1 uses the published setting for this "
                        "model (Flux 0.4, HunyuanVideo 0.1, Wan 0.08). Higher skips more steps and costs quality; "
                        "0 never skips."
                    ),
                ),
                io.Int.Input(
                    "probe_depth",
                    default=0,
                    min=0,
                    max=1000,
                    tooltip=(
                        "Blocks that run on every step to look at the picture's progress. 0 uses the published depth "
                        "(1). Deeper judges better and makes every skipped step slower by one block each."
                    ),
                ),
                io.Int.Input(
                    "warmup_steps",
                    default=-1,
                    min=-1,
                    max=10000,
                    tooltip=(
                        "Steps at the start that are never skipped, because they lay out the picture. -1 uses the "
                        "published 20% of the steps. Fewer is faster and risks the composition."
                    ),
                ),
            ],
            outputs=[io.Model.Output(tooltip="The model, sampling through DiCache.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, model: io.Model.Type, threshold: float, probe_depth: int, warmup_steps: int) -> io.NodeOutput:
        config = resolve(adapter_for(model.model.diffusion_model).name, threshold, probe_depth, warmup_steps)
        return io.NodeOutput(attach(model, config, node_id=cls.hidden.unique_id))


def resolve(architecture: str, threshold: float, probe_depth: int, warmup_steps: int) -> CacheConfig:
    """The published settings of an architecture with the widgets' numbers in their place; -1 and 0 mean automatic."""
    config = published(architecture)
    if threshold != -1:
        config = replace(config, threshold=threshold)
    if probe_depth != 0:
        config = replace(config, probe_depth=probe_depth)
    if warmup_steps != -1:
        config = replace(config, warmup_steps=warmup_steps)
    return config


class DiCacheExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [DiCacheApply]
