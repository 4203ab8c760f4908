"""ComfyUI's side of the cache: the only place that touches the host."""

from .attach import attach, detach
from .compare import SAMPLERS, SCHEDULERS, Sampling, as_latent, compare, decode, is_video, nothing, picture_part
from .curves import calibrate, check_curve_name, curve_fingerprint, load_curve
from .families import FAMILIES
from .family import Family, Part
from .ray_actors import attach_to_actors, has_raylight
from .registry import architecture_of, family_of
from .tune import Tuned, as_samplings, tell, tune
from .tuned import forget, forget_all, listing, memory_state, recalled, remembered

__all__ = [
    "FAMILIES",
    "SAMPLERS",
    "SCHEDULERS",
    "Family",
    "Part",
    "Sampling",
    "Tuned",
    "architecture_of",
    "as_latent",
    "as_samplings",
    "attach",
    "attach_to_actors",
    "calibrate",
    "check_curve_name",
    "compare",
    "curve_fingerprint",
    "decode",
    "detach",
    "family_of",
    "forget",
    "forget_all",
    "has_raylight",
    "is_video",
    "listing",
    "load_curve",
    "memory_state",
    "nothing",
    "picture_part",
    "recalled",
    "remembered",
    "tell",
    "tune",
]
