"""ComfyUI's side of the cache: the only place that touches the host."""

from .attach import attach, detach, override
from .calibration_files import (
    calibrate,
    calibration_fingerprint,
    check_calibration_name,
    load_calibration,
    saved_curves,
)
from .compare import (
    SAMPLERS,
    SCHEDULERS,
    Sampling,
    as_latent,
    check_pictures,
    compare,
    decode,
    is_video,
    nothing,
    picture_part,
)
from .families import FAMILIES
from .family import Family, Part
from .plan_files import check_plan_name, export_plan, import_plan, plans_digest, plans_listing
from .ray_actors import attach_to_actors, has_raylight
from .registry import architecture_of, family_of
from .server_events import note_again
from .tuned_files import forget, forget_all, listing, load_tuned, remembered, tuned_digest, tuning_state
from .tuning_runs import as_samplings, tune

__all__ = [
    "FAMILIES",
    "SAMPLERS",
    "SCHEDULERS",
    "Family",
    "Part",
    "Sampling",
    "architecture_of",
    "as_latent",
    "as_samplings",
    "attach",
    "attach_to_actors",
    "calibrate",
    "calibration_fingerprint",
    "check_calibration_name",
    "check_pictures",
    "check_plan_name",
    "compare",
    "decode",
    "detach",
    "export_plan",
    "family_of",
    "forget",
    "forget_all",
    "has_raylight",
    "import_plan",
    "is_video",
    "listing",
    "load_calibration",
    "load_tuned",
    "note_again",
    "nothing",
    "override",
    "picture_part",
    "plans_digest",
    "plans_listing",
    "remembered",
    "saved_curves",
    "tune",
    "tuned_digest",
    "tuning_state",
]
