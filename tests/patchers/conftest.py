"""Toy models of every class that a family covers, and a cache around one of them; what was shown of which family."""

import os
import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parent))

from shown import Shown
from variants import VARIANTS

SHOWN = Shown()


@pytest.fixture(params=VARIANTS, ids=lambda build: build.__name__)
def variant(request, pack, shows):
    """A toy model with the arguments of one forward pass; ``pack`` comes first, as it starts ComfyUI."""
    variant = request.param()
    shows("toy", variant.model)
    return variant


@pytest.fixture
def inference():
    with torch.inference_mode():
        yield


@pytest.fixture
def shows(pack, record_property):
    """``shows("toy" | "sampled" | "trained", network)``: what this test shows, and of which family."""

    def note(how, network):
        record_property("shows", (pack.model_patchers.family_of(network).name, how))

    return note


def pytest_runtest_logreport(report):
    SHOWN.add(report)


def pytest_sessionfinish():
    """Where DICACHE_SHOWN names a file (``make models``), what was shown is written there."""
    if path := os.environ.get("DICACHE_SHOWN"):
        SHOWN.write(Path(path))
