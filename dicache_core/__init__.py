"""DiCache for diffusion transformers, in torch alone: when to reuse a step, and how to rebuild it.

arXiv 2508.17356 (Bu et al.).  Nothing in here knows which model or which host it serves.
"""

from .calibration import Calibration
from .comparison import Outcome
from .config import LARGEST_COUNT, LARGEST_THRESHOLD, CacheConfig, check_threshold
from .effective_settings import threshold_of
from .engine.forward_pass import ForwardPass
from .engine.run_environment import needs_stack
from .engine.session import CacheSession
from .explain import method_of
from .names import display_name
from .policy import Policy
from .presets import DEFAULT_PRESET, MENU, PRESETS, resolve
from .reasons import COMPUTED, Reason, StepCode
from .run_json import run_json
from .run_log import RunLog
from .run_statistics import RunStatistics, SampleKey
from .schedule import CallSequence, same_sigma
from .tuning.context import COMPILER, RunContext
from .tuning.search import Goal, KeepQuality, SearchResult, Trial
from .tuning.store import Choice, TunedSettings

__all__ = [
    "COMPILER",
    "COMPUTED",
    "DEFAULT_PRESET",
    "LARGEST_COUNT",
    "LARGEST_THRESHOLD",
    "MENU",
    "PRESETS",
    "CacheConfig",
    "CacheSession",
    "Calibration",
    "CallSequence",
    "Choice",
    "ForwardPass",
    "Goal",
    "KeepQuality",
    "Outcome",
    "Policy",
    "Reason",
    "RunContext",
    "RunLog",
    "RunStatistics",
    "SampleKey",
    "SearchResult",
    "StepCode",
    "Trial",
    "TunedSettings",
    "check_threshold",
    "display_name",
    "method_of",
    "needs_stack",
    "resolve",
    "run_json",
    "same_sigma",
    "threshold_of",
]
