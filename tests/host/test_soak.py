"""A small crowd in the server of all tests: tools/bench/soak.py does the same with hundreds of prompts."""

import asyncio
import random
import sys

import pytest
from layout import REPO

sys.path.append(str(REPO / "tools" / "bench"))
import soak

pytestmark = pytest.mark.one_host


def test_a_crowd_gets_what_each_gets_alone(server):
    draw = random.Random(1)
    jobs = soak.drawn(server.url, 12, 12, draw)
    assert len({prompt.architecture for prompt, _ in jobs}) == 3
    jobs[5] = (jobs[5][0], True)
    outcomes, cells = asyncio.run(soak.crowd(server.url, jobs, soak.CLIENTS, draw))
    assert [o.message for o in outcomes if o.status == "error"] == []
    assert len(outcomes) == 12
    assert sum(o.status == "success" for o in outcomes) >= 12 - sum(cancel for _, cancel in jobs)
    assert cells.count("r") > 0
    assert soak.different(server.url, outcomes) == []


def test_what_does_not_hold_is_said():
    found = {"failed": ["flux: no"], "different": [{"seed": 1}], "growth": 0.03, "reused": 0, "seconds": 901.0}
    found |= {"before": {"threads": 7}, "after": {"threads": 9}, "traceback_in_the_log": True}
    found |= {"settled_after": soak.SETTLED}
    said = "\n".join(soak.complaints(found))
    for part in ("1 prompts failed", "1 results", "3.0%", "2 threads more", "traceback", "901 s", "no step was reused"):
        assert part in said
    sound = {
        "failed": [],
        "different": [],
        "growth": 0.01,
        "reused": 5,
        "seconds": 300.0,
        "traceback_in_the_log": False,
        "settled_after": soak.SETTLED,
    }
    assert soak.complaints(sound | {"before": {"threads": 7}, "after": {"threads": 7}}) == []
    growing = sound | {"growth": 0.1, "before": {"threads": 7}, "after": {"threads": 9}}
    assert len(soak.complaints(growing)) == 2
    assert soak.complaints(growing | {"settled_after": soak.QUICK_SETTLED}) == [], "of a handful memory says nothing"
