"""ComfyUI's side of the cache: the only place that touches the host."""

from .adapter import Adapter
from .attach import attach, detach
from .compare import SAMPLERS, SCHEDULERS, Sampling, as_latent, compare, decode, is_video, nothing, picture_part
from .curves import calibrate, check_curve_name, load_curve
from .registry import ADAPTERS, adapter_for

__all__ = [
    "ADAPTERS",
    "SAMPLERS",
    "SCHEDULERS",
    "Adapter",
    "Sampling",
    "adapter_for",
    "as_latent",
    "attach",
    "calibrate",
    "check_curve_name",
    "compare",
    "decode",
    "detach",
    "is_video",
    "load_curve",
    "nothing",
    "picture_part",
]
