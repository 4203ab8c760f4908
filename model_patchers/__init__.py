"""ComfyUI's side of the cache: the only place that touches the host."""

from .adapter import Adapter
from .attach import attach, detach
from .compare import SAMPLERS, SCHEDULERS, Sampling, as_latent, compare, decode, nothing
from .curves import calibrate, check_curve_name, curve_fingerprint, load_curve
from .registry import ADAPTERS, adapter_for
from .reporter import show_text

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
    "curve_fingerprint",
    "decode",
    "detach",
    "load_curve",
    "nothing",
    "show_text",
]
