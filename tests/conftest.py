"""Fixtures of all tests.  Start them with ``make test``; see host/run.py for what that sets up."""

import os
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
# At the end, so that ComfyUI's own `nodes` wins over the pack's: the pack is only ever loaded by ComfyUI's loader, and
# `dicache_core` alone, which imports torch and nothing else, is also imported directly.
sys.path.extend([str(TESTS), str(TESTS / "host"), str(TESTS.parent)])

from chromium import HOW, find_browser  # noqa: E402
from provision import NO_RAY  # noqa: E402
from required_tests_plugin import Kind, Kinds  # noqa: E402
from tiers import Tiers, add_tier_options  # noqa: E402

NO_BROWSER, NO_GPU, SLOW = "needs a Chromium", "needs a CUDA device", "slow: run with --slow"
NO_HOST = "needs a ComfyUI"


def pytest_addoption(parser: pytest.Parser) -> None:
    add_tier_options(parser)
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")
    parser.addoption("--require-host", action="store_true", help="fail unless tests against a real ComfyUI ran")
    parser.addoption("--require-ray", action="store_true", help="fail unless tests over Ray ran")
    parser.addoption("--require-browser", action="store_true", help="fail unless tests of the front end ran")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    without_host = os.environ.get("DICACHE_TEST_COMFY") == ""  # run.py --at-hand found none
    for item in items:
        if without_host and "host" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip(reason=NO_HOST))
        if item.get_closest_marker("gpu") and not _has_gpu():
            item.add_marker(pytest.mark.skip(reason=NO_GPU))
        if item.get_closest_marker("browser") and not find_browser():
            item.add_marker(pytest.mark.skip(reason=f"{NO_BROWSER}: {HOW}"))
        if item.get_closest_marker("slow") and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason=SLOW))


def _marked(name: str):
    return lambda item: item.get_closest_marker(name) is not None


def _uses_host(item: pytest.Item) -> bool:
    return bool({"comfy", "server", "site", "installed"} & set(getattr(item, "fixturenames", ())))


def pytest_configure(config: pytest.Config) -> None:
    kinds = [
        Kind("against a real ComfyUI", _uses_host, "start them with `make test`", "--require-host", NO_HOST),
        Kind("of the front end", _marked("browser"), HOW, "--require-browser", NO_BROWSER),
        Kind("over Ray", _marked("ray"), "`make test-ray` says what is missing", "--require-ray", NO_RAY),
        Kind(
            "on a GPU",
            _marked("gpu"),
            "on a machine with CUDA, DICACHE_TEST_DEVICE=cuda for the host's part",
            reason=NO_GPU,
        ),
        Kind("marked slow", _marked("slow"), "with --slow", reason=SLOW),
    ]
    config.pluginmanager.register(Kinds(kinds), "dicache-kinds")
    config.pluginmanager.register(Tiers(config), "dicache-tiers")


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.fixture(scope="session")
def host():
    """Where the ComfyUI under test is: the one of host/run.py, else the one that provision finds or fetches."""
    from provision import running_host

    return running_host()


@pytest.fixture(scope="session")
def comfy(host, tmp_path_factory):
    """A real ComfyUI in this process on a CPU (DICACHE_TEST_DEVICE=cuda for a GPU); see host/inprocess.py."""
    import inprocess
    from layout import base_directory

    return inprocess.start(Path(host.comfy), base_directory(tmp_path_factory.mktemp("comfy")))


@pytest.fixture
def batching(comfy, monkeypatch):
    """``batching(fits)``: whether the memory for conds in one batch is there, asked anew each time."""

    def set_to(fits):
        free = comfy.module("comfy.model_patcher").ModelPatcher
        monkeypatch.setattr(free, "get_free_memory", lambda *_: 1e18 if fits() else 0)

    return set_to


@pytest.fixture(scope="session")
def server(host):
    """ComfyUI's own server on a loopback port with the pack installed; see host/comfy_server.py."""
    from comfy_server import CELLS, ComfyServer

    with ComfyServer(host, cells=CELLS) as server:
        yield server


@pytest.fixture(scope="session")
def pack(comfy):
    """The pack as ComfyUI loaded it: ``pack.dicache_core``, ``pack.model_patchers``."""
    return comfy.pack


@pytest.fixture(scope="session")
def load_model(comfy):
    """``load_model("flux")``: a fresh clone of the testbed's model."""
    return comfy.load_model


@pytest.fixture(scope="session")
def sample(comfy):
    """``sample(model, caption or captions, steps=30, ...)``: the latent; see inprocess.Comfy.sample."""
    return comfy.sample


@pytest.fixture(scope="session")
def captions() -> tuple[str, ...]:
    """The fixed captions of the testbed."""
    from testbed.captions import CAPTIONS

    return CAPTIONS
