"""DiCache for diffusion transformers, in torch alone: when to reuse a step, and how to rebuild it.

arXiv 2508.17356 (Bu et al.).  Nothing in here knows which model or which host it serves.
"""

from .config import CacheConfig
from .indicators import INDICATORS, Indicator, Stage, indicator_class
from .observation import Observation
from .predictors import PREDICTORS, Predictor, Space, predictor_class
from .published import PUBLISHED, published
from .registry import lookup
from .sample import Decision, SampleCache
from .schedule import Schedule, Step
from .session import CacheSession, ForwardPass
from .statistics import PassRecord, RunStatistics, SampleKey
from .timing import Stopwatch

__all__ = [
    "INDICATORS",
    "PREDICTORS",
    "PUBLISHED",
    "CacheConfig",
    "CacheSession",
    "Decision",
    "ForwardPass",
    "Indicator",
    "Observation",
    "PassRecord",
    "Predictor",
    "RunStatistics",
    "SampleCache",
    "SampleKey",
    "Schedule",
    "Space",
    "Stage",
    "Step",
    "Stopwatch",
    "indicator_class",
    "lookup",
    "predictor_class",
    "published",
]
