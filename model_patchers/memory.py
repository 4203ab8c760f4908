"""Telling ComfyUI's memory manager about the cache before it places the model."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from comfy.controlnet import ControlBase
from comfy.model_management import get_free_memory
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor

from ..dicache_core import CacheSession
from ..dicache_core.engine.memory import CacheMemory, fits
from .family import Family
from .seams import prepare_sampling

KEY = "dicache"

log = logging.getLogger("dicache")

Conds = Mapping[str, Sequence[Mapping[str, Any]]]


class MemoryRequest(ControlBase):
    """Asks for memory and does nothing else: the host adds up what the controls of a run say they need."""

    def __init__(self, wanted: int) -> None:
        super().__init__()
        self.wanted = wanted

    def inference_memory_requirements(self, *_: Any, **__: Any) -> int:
        return self.wanted

    def deepclone_multigpu(self, load_device: torch.device, autoregister: bool = False, **_: Any) -> MemoryRequest:
        """The host asks each control for a copy per device where it splits conds over several."""
        copy = MemoryRequest(self.wanted)
        if autoregister:
            self.multigpu_clones[load_device] = copy
        return copy


class MemoryPlan:
    """``PREPARE_SAMPLING`` wrapper: asks for the cache's bytes, and says where it may live once the model is placed.

    ``streams`` of the conds are sampled: with a guidance of 1 the host leaves the negative one out.
    """

    def __init__(self, family: Family, session: CacheSession, guider: Any) -> None:
        self.family = family
        self.session = session
        self.guider = guider

    def __call__(self, executor: WrapperExecutor, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        if self.session.never_reuses:
            return executor(*args, **kwargs)
        call = prepare_sampling().bind(executor.original, args, kwargs)
        model, shape, conds = (call.arguments[name] for name in ("model", "noise_shape", "conds"))
        wanted = self.wanted(model, shape, conds)
        # As a cond of its own, which only the memory estimate sees: the run gets its conds back as they were.
        call.arguments["conds"] = {**conds, KEY: [{"control": MemoryRequest(wanted)}]}
        real_model, _, *others = executor(*call.args, **call.kwargs)
        if self.session.config.cache_device == "auto" and not _has_room(model, shape, wanted):
            self.session.run.storage.in_main_memory = True
            log.info("DiCache: the cache needs %d MiB, more than is free. It goes to main memory.", wanted >> 20)
        return real_model, conds, *others

    def wanted(self, model: ModelPatcher, shape: Sequence[int], conds: Conds) -> int:
        """Bytes on the device for every cond that is sampled, ``shape`` being the noise's ``(N, C, [T,] H, W)``.

        All conds may share a forward, so that their copies of its input are there at once.
        """
        tokens, width = self.family.size(model.model.diffusion_model, shape)
        streams = sum(len(conds[name]) for name in conds if name != "negative" or not self._leaves_out_negative())
        dtype = model.model.get_dtype_inference()
        batch, segments = streams * shape[0], len(self.session.run.segments) or 1
        memory = CacheMemory(self.session.config, tokens, width, dtype, batch, math.prod(shape[1:]), segments)
        return memory.peak_bytes(in_main_memory=self.session.run.storage.in_main_memory)

    def _leaves_out_negative(self) -> bool:
        at_one = getattr(self.guider, "cfg", None) == 1.0  # guiders of other kinds have no such number
        return at_one and not self.guider.model_options.get("disable_cfg1_optimization", False)


def _has_room(model: ModelPatcher, shape: Sequence[int], wanted: int) -> bool:
    """Whether the cache fits beside the placed model and its activations."""
    if model.load_device.type == "cpu" or model.is_dynamic():
        return True  # one memory only, or the host makes room by putting weights aside as it goes
    activations = int(model.model.memory_required(list(shape)))
    return fits(wanted, int(get_free_memory(model.load_device)) - activations)
