"""torch.compile of a whole model: while a cache is around it, its blocks are compiled instead.

A compiled model looks at what the host put around it, such as this cache, only while it is traced; TorchCompileModel
takes ``transformer_options`` out of what its graph depends on.  The graph of a whole model would go on without a cache
that came later, or with the one of a run that has ended.  Blocks are traced without the cache, which stays outside, and
are one graph per kind of block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from comfy.patcher_extension import WrapperExecutor
from torch import nn

from .method_patching import exclusively

SETTINGS = "torch_compile_kwargs"  # where the host's helper leaves them in model_options
FILTER = "guard_filter_fn"  # what takes transformer_options out


class BlockByBlock:
    """``APPLY_MODEL`` wrapper of one run: each pass has its network to itself, and runs it block by block where it is
    compiled whole.  Within a cached pass this thread has the network already; others come without a cache.

    ``options`` are the ``model_options`` of the run.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        settings = dict(options.get(SETTINGS, {}))
        kept = {key: value for key, value in (settings.pop("options", None) or {}).items() if key != FILTER}
        self._settings = settings | {"options": kept or None}
        self._stacks: dict[nn.Module, dict[str, nn.ModuleList]] = {}  # per device the host has a model of its own

    def __call__(self, executor: WrapperExecutor, *args: Any, **kwargs: Any) -> Any:
        owner = executor.class_obj
        with exclusively(uncompiled(owner.diffusion_model)):
            network = uncompiled(owner.diffusion_model)
            if network is owner.diffusion_model:
                return executor(*args, **kwargs)
            if network not in self._stacks:
                self._stacks[network] = self._compiled(network)
            with _replaced(owner, {"diffusion_model": network}), _replaced(network, self._stacks[network]):
                return executor(*args, **kwargs)

    def _compiled(self, network: nn.Module) -> dict[str, nn.ModuleList]:
        """The network's stacks of blocks, by name, with each block compiled as the whole was to be.

        A U-Net's blocks are lists of layers that the host goes through itself: they stay as they are.
        """
        stacks = [(name, child) for name, child in network.named_children() if isinstance(child, nn.ModuleList)]
        stacks = [(name, stack) for name, stack in stacks if not any(isinstance(b, nn.Sequential) for b in stack)]
        return {name: nn.ModuleList(torch.compile(block, **self._settings) for block in s) for name, s in stacks}


def uncompiled(network: nn.Module) -> nn.Module:
    """The network itself, whether torch has compiled it whole or not."""
    return getattr(network, "_orig_mod", network)  # torch's name for what it has compiled


@contextmanager
def _replaced(owner: nn.Module, attributes: Mapping[str, nn.Module]) -> Iterator[None]:
    before = {name: getattr(owner, name) for name in attributes}
    try:
        for name, value in attributes.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)
