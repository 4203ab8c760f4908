"""Which adapter covers which model. A new architecture is one file and one line in ``ADAPTERS``."""

from __future__ import annotations

from torch import nn

from .adapter import Adapter, class_name
from .chroma import ChromaAdapter
from .flux import FluxAdapter
from .hunyuan_video import HunyuanVideoAdapter
from .wan import ScailAdapter, WanAdapter

ADAPTERS: list[Adapter] = [
    FluxAdapter(),
    ChromaAdapter(),
    HunyuanVideoAdapter(),
    WanAdapter(),
    ScailAdapter(),
]


def adapter_for(model: nn.Module) -> Adapter:
    """The adapter of a diffusion model, or a ``ValueError`` that names the class found and the ones supported."""
    found = class_name(model)
    for adapter in ADAPTERS:
        if found in adapter.models:
            return adapter
    known = sorted(name.rsplit(".", 1)[-1] for adapter in ADAPTERS for name in adapter.models)
    raise ValueError(
        f"DiCache does not know the model class {found}. It supports {', '.join(known)}: "
        "load one of these, or remove the DiCache node from this model"
    )
