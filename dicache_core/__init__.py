"""DiCache for diffusion transformers, in torch alone: when to reuse a step, and how to rebuild it.

arXiv 2508.17356 (Bu et al.).  Nothing in here knows which model or which host it serves.
"""

from .config import CACHE_DEVICES, RESIDUAL_BITS, CacheConfig
from .curve import LARGEST_FILE, Curve, calibration, curve_of
from .indicators import INDICATORS, Indicator, Stage, indicator_class
from .measure import Reducer
from .memory import expected_bytes, fits
from .observation import Observation
from .outcome import Outcome
from .policies import POLICIES, named_policy
from .policy import Policy
from .predictors import PREDICTORS, Predictor, Space, predictor_class
from .presets import LARGEST_THRESHOLD, PRESETS, check_threshold, parse_settings, preset_config, resolve, settings_of
from .published import PUBLISHED, published
from .registry import lookup
from .run_log import RunLog
from .sample import Decision, SampleCache
from .schedule import Lane, LaneBook, Schedule, Step, in_lanes
from .session import CacheSession, ForwardPass
from .statistics import PassRecord, RunStatistics, SampleKey
from .storage import OUT_OF_MEMORY, CacheOutOfMemoryError, Storage, Stored
from .target import FEW_STEPS, Target
from .timing import Stopwatch

__all__ = [
    "CACHE_DEVICES",
    "FEW_STEPS",
    "INDICATORS",
    "LARGEST_FILE",
    "LARGEST_THRESHOLD",
    "OUT_OF_MEMORY",
    "POLICIES",
    "PREDICTORS",
    "PRESETS",
    "PUBLISHED",
    "RESIDUAL_BITS",
    "CacheConfig",
    "CacheOutOfMemoryError",
    "CacheSession",
    "Curve",
    "Decision",
    "ForwardPass",
    "Indicator",
    "Lane",
    "LaneBook",
    "Observation",
    "Outcome",
    "PassRecord",
    "Policy",
    "Predictor",
    "Reducer",
    "RunLog",
    "RunStatistics",
    "SampleCache",
    "SampleKey",
    "Schedule",
    "Space",
    "Stage",
    "Step",
    "Stopwatch",
    "Storage",
    "Stored",
    "Target",
    "calibration",
    "check_threshold",
    "curve_of",
    "expected_bytes",
    "fits",
    "in_lanes",
    "indicator_class",
    "lookup",
    "named_policy",
    "parse_settings",
    "predictor_class",
    "preset_config",
    "published",
    "resolve",
    "settings_of",
]
