"""Two threads, one network: what a pass changes in the network for its own length, no other pass meets."""

import gc
import threading
import time
import weakref

import pytest
import torch
from test_library import in_threads
from torch import nn


@pytest.fixture
def exclusively(comfy, pack):
    return pack.model_patchers.method_patching.exclusively


class Crowd(nn.Module):
    """Counts how many threads are inside of it at once."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.most = 0, 0

    def forward(self, others: threading.Event) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        others.wait(0.05)
        self.inside -= 1


@pytest.mark.parametrize(("networks", "most"), [(1, 1), (2, 2)], ids=["one network", "two networks"])
def test_one_thread_at_a_time_and_network(exclusively, networks, most):
    crowd, never = Crowd(), threading.Event()
    rooms = [nn.Identity() for _ in range(networks)]

    def work(room):
        def run():
            for _ in range(4):
                with exclusively(room), exclusively(room):  # again in the same thread: no waiting for itself
                    crowd(never)

        return run

    in_threads(work(rooms[0]), work(rooms[-1]))
    assert crowd.most == most


def test_a_pass_that_fails_gives_the_network_back(exclusively):
    network = nn.Identity()

    def fail():
        with exclusively(network):
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        in_threads(fail)
    with exclusively(network):
        pass


def test_networks_are_not_kept(exclusively):
    network = nn.Identity()
    with exclusively(network):
        pass
    gone = weakref.ref(network)
    del network
    gc.collect()
    assert gone() is None


class Owner(nn.Module):
    """The host's model around a network that is compiled whole."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.ModuleDict({"blocks": nn.ModuleList([nn.Identity()])})
        self.diffusion_model = torch.compile(self.network, backend="eager")

    def __call__(self, *_):
        """What one pass sees in the model, at its beginning and at its end."""
        begin = (self.diffusion_model, *self.network["blocks"])
        time.sleep(0.05)
        return begin, (self.diffusion_model, *self.network["blocks"])


def test_compiled_blocks_are_there_for_the_whole_of_each_pass(comfy, pack, monkeypatch):
    """And for no other: a compiled network has its blocks swapped while a pass with a cache lasts."""
    owner = Owner()
    before = {name: id(module) for name, module in owner.named_modules()}
    wrapper = pack.model_patchers.compiling.BlockByBlock({})
    executor = comfy.module("comfy.patcher_extension").WrapperExecutor.new_class_executor(owner, owner, [wrapper])
    passes = in_threads(*[lambda: [executor.execute() for _ in range(3)]] * 2)
    for begin, end in (p for thread in passes for p in thread):
        assert begin == end
        assert begin[0] is owner.network
        assert hasattr(begin[1], "_orig_mod"), "the block was not the compiled one"
    assert {name: id(module) for name, module in owner.named_modules()} == before
