"""DiCache for diffusion transformers, in torch alone: when to reuse a step, and how to rebuild it.

arXiv 2508.17356 (Bu et al.).  Nothing in here knows which model or which host it serves.
"""

from .closeness import CLOSENESS, VISIBLE, closeness_of
from .comparison import parse_settings, settings_of
from .config import CACHE_DEVICES, LARGEST_COUNT, LARGEST_THRESHOLD, RESIDUAL_BITS, CacheConfig, check_threshold
from .curve import LARGEST_FILE, Curve, calibration, curve_of
from .explain import Nothing, method_of, why_nothing
from .forward_pass import ForwardPass
from .indicators import INDICATORS, Indicator, Stage, indicator_class
from .likeness import LARGEST_PSNR, QUALITIES, Likeness, Quality
from .limits import every_nth_step, in_force, interval_of, leaves_little, limit_text, probe_depth_of, threshold_of
from .measure import Reducer
from .memory import expected_bytes, fits, peak_bytes
from .names import TITLES, display_name, title
from .observation import Observation
from .outcome import Outcome
from .policies import POLICIES, check_companions, chosen_policy, named_policy
from .policy import Policy
from .predictors import PREDICTORS, Predictor, Space, predictor_class
from .presets import (
    DEFAULT_PRESET,
    NOT_TUNED,
    PRESETS,
    TUNED_PRESET,
    asks_memory,
    own_config,
    preset_config,
    resolve,
)
from .published import PUBLISHED, papers_method, published, published_note
from .ranks import PATIENCE, RankLostError, summed_over
from .registry import lookup
from .run_log import RunLog
from .sample import UNDECIDED, VETO, Decision, SampleCache
from .schedule import Lane, LaneBook, Schedule, Step, in_lanes
from .session import CacheSession, needs_stack
from .situation import RECALLED, Recall, Situation
from .statistics import PassRecord, RunStatistics, SampleKey, finite
from .storage import OUT_OF_MEMORY, CacheError, CacheOutOfMemoryError, Storage, Stored
from .target import FEW_STEPS, Target
from .timing import Stopwatch
from .tuned import Choice, Remembered, TunedSettings
from .tuning import (
    EVERYTHING,
    SEEDS,
    Answer,
    Candidate,
    Keep,
    Ladder,
    Reach,
    Trial,
    Wish,
    search,
)

__all__ = [
    "CACHE_DEVICES",
    "CLOSENESS",
    "DEFAULT_PRESET",
    "EVERYTHING",
    "FEW_STEPS",
    "INDICATORS",
    "LARGEST_COUNT",
    "LARGEST_FILE",
    "LARGEST_PSNR",
    "LARGEST_THRESHOLD",
    "NOT_TUNED",
    "OUT_OF_MEMORY",
    "PATIENCE",
    "POLICIES",
    "PREDICTORS",
    "PRESETS",
    "PUBLISHED",
    "QUALITIES",
    "RECALLED",
    "RESIDUAL_BITS",
    "SEEDS",
    "TITLES",
    "TUNED_PRESET",
    "UNDECIDED",
    "VETO",
    "VISIBLE",
    "Answer",
    "CacheConfig",
    "CacheError",
    "CacheOutOfMemoryError",
    "CacheSession",
    "Candidate",
    "Choice",
    "Curve",
    "Decision",
    "ForwardPass",
    "Indicator",
    "Keep",
    "Ladder",
    "Lane",
    "LaneBook",
    "Likeness",
    "Nothing",
    "Observation",
    "Outcome",
    "PassRecord",
    "Policy",
    "Predictor",
    "Quality",
    "RankLostError",
    "Reach",
    "Recall",
    "Reducer",
    "Remembered",
    "RunLog",
    "RunStatistics",
    "SampleCache",
    "SampleKey",
    "Schedule",
    "Situation",
    "Space",
    "Stage",
    "Step",
    "Stopwatch",
    "Storage",
    "Stored",
    "Target",
    "Trial",
    "TunedSettings",
    "Wish",
    "asks_memory",
    "calibration",
    "check_companions",
    "check_threshold",
    "chosen_policy",
    "closeness_of",
    "curve_of",
    "display_name",
    "every_nth_step",
    "expected_bytes",
    "finite",
    "fits",
    "in_force",
    "in_lanes",
    "indicator_class",
    "interval_of",
    "leaves_little",
    "limit_text",
    "lookup",
    "method_of",
    "named_policy",
    "needs_stack",
    "own_config",
    "papers_method",
    "parse_settings",
    "peak_bytes",
    "predictor_class",
    "preset_config",
    "probe_depth_of",
    "published",
    "published_note",
    "resolve",
    "search",
    "settings_of",
    "summed_over",
    "threshold_of",
    "title",
    "why_nothing",
]
