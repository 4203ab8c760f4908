"""What each kind of call costs beside the model: waits for the device by name, and passes over large tensors.

On a GPU every wait empties the queue, and every operation is a kernel: none of them may come in unseen.
``tools/bench/counted.py`` says how they are counted, and what the calls are.
"""

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools" / "bench"))
import bench
import counted
from passes import Passes

pytestmark = pytest.mark.one_host

EVERY_CALL = {"read_sigma": 1}  # the call's noise level, which the sampler keeps beside the model
# Beside that, the decision's one: none where the decision is known.  Of the forecast it brings what the computed calls
# before have measured, where that is not on the host yet.
DECISION = {
    ("dicache", "warm-up"): 0,
    ("dicache", "last of the warm-up"): 0,
    ("dicache", "computed"): 1,
    ("dicache", "skipped"): 1,
    ("dicache", "computed after a skipped one"): 1,
    ("dicache", "skipped after a skipped one"): 1,
    ("dicache", "last"): 0,
    ("forecast", "warm-up"): 0,
    ("forecast", "last of the warm-up"): 0,
    ("forecast", "computed"): 1,
    ("forecast", "skipped"): 1,
    ("forecast", "computed after a skipped one"): 0,
    ("forecast", "skipped after a skipped one"): 0,
    ("forecast", "last"): 0,
}
# Where streams decide together by what calls show, the first open call goes by the call before it: once per run.
GUIDED = {("dicache", "last of the warm-up"): 1}
# Where samples of a batch disagree, some were computed at each call.
APART = {
    ("forecast", "computed after a skipped one"): 1,
    ("forecast", "skipped after a skipped one"): 1,
}
EXCEPTIONS = {"guided": GUIDED, "samples that disagree": APART}

# Of one sample: operations over hidden states and over probe tokens; over latents.
PASSES = {
    ("dicache", "warm-up"): {"hidden": 4, "probe": 1},
    ("dicache", "last of the warm-up"): {"hidden": 4, "probe": 1},
    ("dicache", "computed"): {"hidden": 4, "probe": 12},
    ("dicache", "skipped"): {"hidden": 5, "probe": 12},
    ("dicache", "computed after a skipped one"): {"hidden": 4, "probe": 9},
    ("dicache", "skipped after a skipped one"): {"hidden": 5, "probe": 9},
    ("dicache", "last"): {"hidden": 4, "probe": 1},
    ("forecast", "warm-up"): {"latent": 16},
    ("forecast", "last of the warm-up"): {"latent": 16},
    ("forecast", "computed"): {"latent": 16},
    ("forecast", "skipped"): {"latent": 6},
    ("forecast", "computed after a skipped one"): {"latent": 36},
    ("forecast", "skipped after a skipped one"): {"latent": 6},
    ("forecast", "last"): {"latent": 16},
}
MOST_OPERATIONS = {"dicache": 45, "forecast": 72}  # of one sample, the small ones too
KNOWN = {"warm-up", "last step"}  # reasons that need no measurement


@pytest.fixture(scope="module")
def rows(comfy):
    return counted.record(comfy)


@pytest.mark.parametrize("load", [load.name for load in counted.LOADS])
def test_a_call_waits_once_for_its_noise_level_and_at_most_once_for_its_decision(rows, load):
    """None for a decision that is known, but for the one that ``GUIDED`` names."""
    wanted = DECISION | EXCEPTIONS.get(load, {})
    found = {(row["method"], row["call"]): row["syncs"] for row in rows if row["load"] == load}
    assert found == {call: EVERY_CALL | ({"to_host": count} if count else {}) for call, count in wanted.items()}
    known = [row for row in rows if row["load"] == load and set(row["reasons"]) <= KNOWN]
    assert {row["call"] for row in known} == {"warm-up", "last of the warm-up", "last"}


# ---------------------------------------------------------------- parts of the stack

# Beside the noise level: planned rules wait for nothing.  Of two stages the second asks where the first is not reused:
# the only rule that may wait twice.
PARTS = {
    ("profilingdit", "computed"): 0,
    ("profilingdit", "skipped in part"): 0,
    ("block_mask", "computed"): 0,
    ("block_mask", "skipped in part"): 0,
    ("h2cache", "computed"): 2,
    ("h2cache", "the second stage skipped"): 2,
    ("h2cache", "both skipped"): 1,
    ("h2cache", "nothing to compare with"): 0,
}
# Operations over the hidden state of one segment, or over the text's part of it alone: of blocks that hold image and
# text apart, which are put together and taken apart again, and of blocks that hold them as one.
APART_BLOCKS, JOINED_BLOCKS = "image and text apart", "image and text as one"
STATES = ("untouched", "recorded", "reused")
OF_A_SEGMENT = {
    ("by a plan", APART_BLOCKS): {"untouched": {}, "recorded": {"hidden": 5}, "reused": {"hidden": 6}},
    ("by a plan", JOINED_BLOCKS): {"untouched": {}, "recorded": {"hidden": 3}, "reused": {"hidden": 5}},
    ("h2cache", APART_BLOCKS): {"recorded": {"hidden": 7}, "reused": {"hidden": 8}},
    ("h2cache", JOINED_BLOCKS): {"recorded": {"hidden": 4}, "reused": {"hidden": 6}},
}
PARTS_STEPS, IMAGE, TEXT, WIDTH = 20, 64, 20, 128
POOLS = (32, 6)  # means that are fewer than tokens, as they are of large images
WHOLE = ((IMAGE + TEXT, WIDTH), (IMAGE, WIDTH), (32, 2, WIDTH), (6, 14, WIDTH))  # the last two on the way to means
# Of 4 double and 8 single blocks: one is to be skipped at every second step, the other from the middle on.
ALWAYS, LATE = 1, 6
CHANGES = [
    [0.01 if block == ALWAYS or (block == LATE and step > 10) else 0.5 for block in range(12)]
    for step in range(PARTS_STEPS)
]


@pytest.fixture
def in_parts(comfy, monkeypatch):
    """``in_parts(policy, **typed)``: per call of a run, the share of the blocks that ran, and the work."""
    passes, counts = Passes(comfy, "flux"), []
    core = passes.core
    monkeypatch.setattr(core.methods.indicators.indicator_class("h2cache"), "pools", POOLS)

    def count(executor, *args, **kwargs):
        with counted.counted(comfy.pack, {"hidden": WHOLE, "text": ((TEXT, WIDTH),)}) as work:
            answer = executor(*args, **kwargs)
        counts.append(work)
        return answer

    def sample(name, **typed):
        config, runs = core.resolve("flux", policy=core.policies.chosen_policy(name, **typed)), []
        # Of few tokens, as of large images, rules look at some.
        model = comfy.pack.model_patchers.attach(passes.model(), replace(config, probe_tokens=16), runs=runs)
        model.add_wrapper_with_key("predict_noise", "count", count)
        counts.clear()
        passes.sample(model, steps=PARTS_STEPS)
        return list(zip(runs[0].shares, counts, strict=True))

    return sample


def masked(pack):
    """What ``block_mask`` is told of the model."""
    ratios = (0.0,) * PARTS_STEPS
    return pack.dicache_core.Calibration("flux", ratios, blocks=tuple(map(tuple, CHANGES)))


def test_of_a_stack_in_parts_two_stages_alone_wait_twice(pack, in_parts):
    """Counted in the calls of runs of the testbed, told apart by the share of the blocks that ran."""
    found = {}
    typed_for = {
        "profilingdit": {"mask": "double 1-2, single 3"},
        "block_mask": {"calibration": masked(pack), "threshold": 0.05},
        "h2cache": {"threshold": 0.25},
    }
    for name, typed in typed_for.items():
        for number, (share, work) in enumerate(in_parts(name, **typed)):
            kind = (kind_of_stages if name == "h2cache" else kind_of_plan)(number, share)
            syncs = work.syncs
            found.setdefault((name, kind), set()).add((syncs["read_sigma"], syncs.total() - syncs["read_sigma"]))
    assert found == {kind: {(1, count)} for kind, count in PARTS.items()}


def kind_of_plan(_number, share):
    return "computed" if share == 1 else "skipped in part"


def kind_of_stages(number, share):
    """Of 4 and 8 blocks, of each stage 1 always runs."""
    names = {12: "computed", 5: "the second stage skipped", 2: "both skipped"}
    return "nothing to compare with" if number == 0 else names[round(12 * share)]


def costs(rule, *states):
    """What a call does whose segments are ``(kind of blocks, state)``."""
    return sum((Counter(OF_A_SEGMENT[rule, blocks][state]) for blocks, state in states), Counter())


def planned_state(reused, step):
    """Of a segment that is skipped at the steps ``reused``: kept at the step before one of them, and at no other."""
    return "reused" if step in reused else "recorded" if step + 1 in reused else "untouched"


@pytest.mark.parametrize(
    ("mask", "kinds"),
    [
        ("double 1-2", [APART_BLOCKS]),
        ("single 3", [JOINED_BLOCKS]),
        ("double 0 2-3, single 0-1 7", [APART_BLOCKS] * 2 + [JOINED_BLOCKS] * 2),
    ],
)
def test_a_listed_segment_costs_this_whatever_its_length(in_parts, mask, kinds):
    reused = {step for step in range(6, PARTS_STEPS) if step % 6}
    for step, (_, work) in enumerate(in_parts("profilingdit", mask=mask)):
        state = planned_state(reused, step)
        assert work.passes == costs("by a plan", *((blocks, state) for blocks in kinds)), step


def test_a_masked_block_costs_the_same_and_is_kept_only_where_it_is_used(pack, in_parts):
    calls = in_parts("block_mask", calibration=masked(pack), threshold=0.05)
    reused = {APART_BLOCKS: set(range(1, PARTS_STEPS, 2)), JOINED_BLOCKS: set(range(11, PARTS_STEPS, 2))}
    for step, (share, work) in enumerate(calls):
        assert share == pytest.approx(1 - sum(step in steps for steps in reused.values()) / 12)
        states = [(blocks, planned_state(steps, step)) for blocks, steps in reused.items()]
        assert work.passes == costs("by a plan", *states), step


def test_a_stage_costs_this(in_parts):
    of_call = {
        "nothing to compare with": ("recorded", "recorded"),
        "computed": ("recorded", "recorded"),
        "the second stage skipped": ("recorded", "reused"),
        "both skipped": ("reused", "reused"),
    }
    seen = set()
    for step, (share, work) in enumerate(in_parts("h2cache", threshold=0.25)):
        kind = kind_of_stages(step, share)
        seen.add(kind)
        assert work.passes == costs("h2cache", *zip((APART_BLOCKS, JOINED_BLOCKS), of_call[kind], strict=True)), step
    assert seen == set(of_call)


def test_the_page_says_what_a_segment_costs():
    text = (bench.DOCS / "numbers.md").read_text(encoding="utf-8")
    for (rule, blocks), states in OF_A_SEGMENT.items():
        title = {"by a plan": "`profilingdit`, `block_mask`", "h2cache": "`h2cache`"}[rule]
        cells = [", ".join(map(str, states[state].values())) or "0" if state in states else "-" for state in STATES]
        assert f"| {title} | {blocks} | {' | '.join(cells)} |" in text


# ---------------------------------------------------------------- all


def test_nothing_of_the_hosts_is_copied_to_the_device(rows):
    assert not [row for row in rows if row["brought"]]


@pytest.mark.parametrize("load", ["plain", "ControlNet"])
def test_passes_over_large_tensors_are_these_and_no_more(rows, load):
    found = {(row["method"], row["call"]): row["passes"] for row in rows if row["load"] == load}
    assert found == PASSES
    for row in rows:
        if row["load"] == load:
            assert row["operations"] <= MOST_OPERATIONS[row["method"]]


def test_a_hidden_state_costs_twice_as_much_of_two_streams(rows):
    guided = {
        row["call"]: row["passes"]["hidden"] for row in rows if (row["load"], row["method"]) == ("guided", "dicache")
    }
    assert guided == {call: 2 * PASSES["dicache", call]["hidden"] for call in guided}


def test_the_page_says_what_is_counted(rows):
    assert bench.results("calls.json") == rows


@pytest.mark.parametrize(
    "read",
    [
        lambda t: t.sum().item(), lambda t: t.tolist(), lambda t: bool((t > 0).any()), lambda t: float(t.sum()),
        lambda t: t.cpu(), lambda t: t.numpy(), lambda t: t.nonzero(), lambda t: t[t > 0], lambda t: t.equal(t),
        lambda t: t.to("cpu"),
    ],
)  # fmt: skip
def test_whatever_brings_numbers_to_the_host_is_counted(read):
    here = SimpleNamespace(__file__=__file__)
    with counted.counted(here, {}) as work:
        read(torch.ones(3, 4))
    assert sum(work.syncs.values()) == 1


def test_operations_over_a_large_tensor_are_counted_once_each_and_views_not_at_all():
    here, large = SimpleNamespace(__file__=__file__), torch.ones(2, 3, 4)
    with counted.counted(here, {"large": ((3, 4),)}) as work:
        view = large.transpose(0, 1)[:, :1].reshape(3, 4).detach().view(3, 4)
        view.add_(1.0)
        torch.add(view, 1.0).square()
        large.sum(0).sum().add_(1.0)
    assert work.passes == {"large": 5}
    assert work.operations == 6
    assert not work.syncs


def test_what_others_do_is_not_counted():
    elsewhere = SimpleNamespace(__file__=torch.__file__)
    with counted.counted(elsewhere, {"large": ((3, 4),)}) as work:
        torch.ones(3, 4).sum().item()
    assert not work.operations
    assert not work.syncs
