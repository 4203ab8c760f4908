"""How close a run's picture is to the one without a cache, in words, from what the run itself saw."""

from __future__ import annotations

# Risks up to which a picture is called so; beyond, it is off visibly.  By the line through the testbed's six models in
# bench/results/risk.json a picture at the first one is off by 40 dB, at the second one by 31 dB.
CLOSENESS = {"very close": 0.04, "close": 0.12}
VISIBLE = "visible"


def closeness_of(risk: float | None) -> str | None:
    """ "very close", "close" or "visible" for a run's risk (see ``Account``); ``None`` where nobody knows."""
    if risk is None:
        return None
    return next((word for word, most in CLOSENESS.items() if risk <= most), VISIBLE)
