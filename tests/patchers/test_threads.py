"""Two threads in one network: one skips and sets work beside the stack aside, the other one computes meanwhile."""

import threading

import pytest
import torch
from cached import ALWAYS, NEVER, Cached, plain
from variants_wan import wan_animate, wan_speech, wan_vace


@pytest.mark.parametrize("build", [wan_vace, wan_speech, wan_animate], ids=lambda build: build.__name__)
def test_a_skipped_pass_and_a_computed_one(pack, build):
    """The skipped pass halts behind its last block until the computed one has had its chance to meet it."""
    variant = build()
    skipping, computing = Cached(pack, variant, ALWAYS), Cached(pack, variant, NEVER)
    skipping(variant.x.clone(), 0)
    expected = plain(variant, variant.x)
    idle, done, found = threading.Event(), threading.Event(), {}

    def halt(*_):
        if threading.current_thread() is skipper:
            idle.set()
            done.wait(0.5)

    def skip():
        found["reused"] = skipping(variant.x.clone(), 1)

    def compute():
        idle.wait(60)
        found["computed"] = computing(variant.x.clone(), 0)
        done.set()

    skipper, other = threading.Thread(target=skip), threading.Thread(target=compute)
    handle = variant.model.head.register_forward_pre_hook(halt)
    for thread in (skipper, other):
        thread.start()
    for thread in (skipper, other):
        thread.join(60)
    handle.remove()
    assert skipping.decisions[-1] == "reused"
    assert idle.is_set()
    assert torch.equal(found["computed"], expected), "it met what the skipped pass had set aside"
    assert torch.equal(plain(variant, variant.x), expected), "something was left in the model"
