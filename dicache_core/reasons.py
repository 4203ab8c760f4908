"""Why a call was computed or skipped, why a run skipped nothing, and the letters of a run's cells.

Values are keys: they stand in events, history and reports, and in the language files, which hold the sentences.
"""

from __future__ import annotations

from enum import Enum


class Key(str, Enum):
    """An enum whose members are their keys, in sets, f-strings and JSON too (``StrEnum`` of Python 3.11)."""

    __hash__ = str.__hash__
    __str__ = str.__str__
    __format__ = str.__format__


class Reason(Key):
    """Why a sample was computed or skipped at one call of the model."""

    REUSED = "reused"
    # Known before anything is measured.
    THRESHOLD_ZERO = "threshold 0"
    FEW_STEPS = "few steps"
    WARM_UP = "warm-up"
    LAST_STEP = "last step"
    OUTSIDE_RANGE = "outside start and end percent"
    NO_ANCHOR = "no anchor yet"
    NEW_NOISE = "new noise"  # the sampler has added some that this predictor knows nothing of
    NO_AUDIT = "no audit yet"  # of a sampler that could not be asked
    RUN_LIMIT = "run limit"  # ``max_consecutive``
    # Decided.
    ERROR = "error"
    VETO = "forecasts off"  # a skip would displace the latent more than the preset allows
    # What the model's side found: from then on all is computed, or this call alone.
    IMAGE_CHANGED = "another image"  # the stream's input does not go on from the call before's
    NO_BLOCK_SEEN = "no block seen"  # the forward never came to the blocks that decide
    SECOND_MODEL = "second model"  # one that these rules cannot look at
    OUT_OF_MEMORY = "out of memory"
    STACK_LEFT_EARLY = "stack left early"
    BLOCKS_REPEATED = "blocks run several times"
    PREDICTS_IMAGE = "pictures"  # a model whose output is the image itself
    NEEDS_EVERY_CALL = "sampler"  # one whose own step sizes follow from the model's outputs
    OTHER_CACHE = "other cache"
    RISING_NOISE = "rising noise"  # unsampling: nothing is forecast against the way it was learnt


NOT_OPEN = frozenset({Reason.WARM_UP, Reason.LAST_STEP, Reason.OUTSIDE_RANGE})


class NoSkip(Key):
    """Why a whole run skipped nothing; the first one that holds explains the others."""

    OTHER_CACHE = "other cache"  # another node's, on the same model
    IMAGE_CHANGED = "another image"  # tiles that move at every step, say
    THRESHOLD_ZERO = "threshold 0"
    OUT_OF_MEMORY = "memory"
    PREDICTS_IMAGE = "pictures"
    NEEDS_EVERY_CALL = "sampler"
    RISING_NOISE = "rising noise"
    NO_BLOCK_SEEN = "no block seen"
    BLOCKS = "blocks"  # they run in another way than the cache can follow
    SECOND_MODEL = "second model"  # all calls went to one that the rules cannot look at
    NOT_A_NUMBER = "not a number"  # what the rules measured, or the model put out
    NEW_NOISE = "new noise"  # the sampler has added some every time
    UNKNOWN_SAMPLER = "unknown sampler"  # vetoed, under one that could not be asked what it does
    VETO = "forecasts off"
    ONE_STEP = "one step"  # a run of one, as samplers have that go step by step
    OWN_STEPS = "own steps"  # a sampler's, which nobody was told of
    FEW_STEPS = "few steps"
    TARGET = "target"  # it asks for all
    NOT_OPEN = "closed"  # warm-up, last step, outside start and end percent
    NO_HISTORY = "no history"  # every pass was a new one, with nothing to go by
    FIRST_PART = "first part"  # of a schedule with added noise, where the range or the run ends
    INTERVAL = "interval"  # every step
    MASK = "mask"  # computes all that it could skip
    ERROR = "error"  # always too large
    FEW_OPEN = "few open"  # steps that could be skipped: a target, or what a first forecast needs, takes them all


class StepCode(Key):
    """One evaluation of the model in a run's row of cells."""

    WARM_UP = "w"
    COMPUTED = "c"
    LAST = "l"
    REUSED = "r"
    MIXED = "m"  # some samples were reused
    PARTIAL = "p"  # some blocks were, of a stack that is decided in parts
    TO_COME = "-"


COMPUTED = frozenset({StepCode.WARM_UP, StepCode.COMPUTED, StepCode.LAST})  # in full
SKIPPED = frozenset({StepCode.REUSED, StepCode.MIXED, StepCode.PARTIAL})  # in part at least
