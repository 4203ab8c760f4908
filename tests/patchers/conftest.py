"""Toy models of every class that a family covers, and a cache around one of them."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from variants import VARIANTS


@pytest.fixture(params=VARIANTS, ids=lambda build: build.__name__)
def variant(request, pack):
    """A toy model with the arguments of one forward pass; ``pack`` comes first, as it starts ComfyUI."""
    return request.param()
