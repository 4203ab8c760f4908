"""ComfyUI's side of the cache: the only place that touches the host."""

from .adapter import Adapter
from .attach import attach, detach
from .registry import ADAPTERS, adapter_for

__all__ = ["ADAPTERS", "Adapter", "adapter_for", "attach", "detach"]
