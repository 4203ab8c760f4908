"""The host's torch.compile around a model: all of it, as its TorchCompileModel does, or every block."""

from typing import Any

WHOLE, BLOCKS = "whole model", "per block"


def compiled(comfy: Any, model: Any, what: str, backend: str = "eager") -> Any:
    """A clone of ``model`` that is compiled when it samples.

    The backend "eager" only traces, which is what decides about breaks and recompilation; "inductor" also makes code.
    """
    helpers = comfy.module("comfy_api.torch_helpers")
    node = comfy.module("comfy_extras.nodes_torch_compile")
    network = model.model.diffusion_model
    stacks = [name for name in ("double_blocks", "single_blocks", "blocks") if hasattr(network, name)]
    keys = [f"diffusion_model.{name}.{i}" for name in stacks for i in range(len(getattr(network, name)))]
    clone = model.clone()
    options = {"guard_filter_fn": node.skip_torch_compile_dict}
    keys = ["diffusion_model"] if what == WHOLE else keys
    helpers.set_torch_compile_wrapper(clone, backend, options=options, keys=keys)
    return clone
