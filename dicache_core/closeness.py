"""How close a run's picture is to the one without a cache, in words, from what the run itself saw."""

from __future__ import annotations

# Risks up to which a picture is called so; beyond, it may be off visibly.  On the testbed's six models 93% of the very
# close ones have 40 dB and more, 93% of the close ones 31 dB and more: bench/results/risk.json.
CLOSENESS = {"very close": 0.04, "close": 0.12}
VISIBLE = "visible"


def closeness_of(risk: float | None) -> str | None:
    """ "very close", "close" or "visible" for a run's risk (see ``Account``); ``None`` where nobody knows."""
    if risk is None:
        return None
    return next((word for word, most in CLOSENESS.items() if risk <= most), VISIBLE)
