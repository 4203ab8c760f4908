"""What each kind of call costs beside the model: waits for the device by name, and passes over large tensors.

On a GPU every wait empties the queue, and every operation is a kernel: none of them may come in unseen.
``tools/bench/counted.py`` says how they are counted, and what the calls are.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools" / "bench"))
import counted
from bench import results
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


# Beside the noise level: planned rules wait for nothing.  Of two stages the second asks where the first is not reused:
# the only rule that may wait twice.
PARTS = {
    ("profilingdit", "computed"): 0,
    ("profilingdit", "skipped in part"): 0,
    ("h2cache", "computed"): 2,
    ("h2cache", "the second stage skipped"): 2,
    ("h2cache", "both skipped"): 1,
    ("h2cache", "nothing to compare with"): 0,
}


def test_of_a_stack_in_parts_two_stages_alone_wait_twice(comfy):
    """Counted in the calls of two runs of the testbed, told apart by the share of the blocks that ran."""
    passes, found = Passes(comfy, "flux"), {}
    core, counts = comfy.pack.dicache_core, []

    def count(executor, *args, **kwargs):
        with counted.counted(comfy.pack, {}) as work:
            answer = executor(*args, **kwargs)
        counts.append(work.syncs)
        return answer

    typed_for = {"profilingdit": {"mask": "double 1-2, single 3"}, "h2cache": {"threshold": 0.25}}
    for name, typed in typed_for.items():
        config, runs = core.resolve("flux", policy=core.policies.chosen_policy(name, **typed)), []
        model = comfy.pack.model_patchers.attach(passes.model(), config, runs=runs)
        model.add_wrapper_with_key("predict_noise", "count", count)
        counts.clear()
        passes.sample(model, steps=20)
        for number, (share, syncs) in enumerate(zip(runs[0].shares, counts, strict=True)):
            kind = {"profilingdit": kind_of_plan, "h2cache": kind_of_stages}[name](number, share)
            found.setdefault((name, kind), set()).add((syncs["read_sigma"], syncs.total() - syncs["read_sigma"]))
    assert found == {kind: {(1, count)} for kind, count in PARTS.items()}


def kind_of_plan(_number, share):
    return "computed" if share == 1 else "skipped in part"


def kind_of_stages(number, share):
    """Of 4 and 8 blocks, of each stage 1 always runs."""
    names = {12: "computed", 5: "the second stage skipped", 2: "both skipped"}
    return "nothing to compare with" if number == 0 else names[round(12 * share)]


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
    assert results("calls.json") == rows


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
