"""A small crowd in the server of all tests: bench/soak.py does the same with hundreds of prompts."""

import asyncio
import importlib.util
import random
import sys

import pytest
from layout import REPO

pytestmark = pytest.mark.one_host


@pytest.fixture(scope="module")
def soak():
    spec = importlib.util.spec_from_file_location("dicache_soak", REPO / "bench" / "soak.py")
    module = importlib.util.module_from_spec(spec)
    path, sys.modules[spec.name] = list(sys.path), module  # dataclasses look their own module up
    spec.loader.exec_module(module)
    sys.path[:] = path  # a script puts folders in front, which could hide modules of ComfyUI from other tests
    return module


def test_a_crowd_gets_what_each_gets_alone(server, soak):
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


def test_what_does_not_hold_is_said(soak):
    found = {"failed": ["flux: no"], "different": [{"seed": 1}], "growth": 0.03, "reused": 0, "seconds": 901.0}
    found |= {"before": {"threads": 7}, "after": {"threads": 9}, "traceback_in_the_log": True}
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
    }
    assert soak.complaints(sound | {"before": {"threads": 7}, "after": {"threads": 7}}) == []
