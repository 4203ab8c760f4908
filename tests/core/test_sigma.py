"""The sigma is read as it is, whichever device the current thread stands on."""

import importlib.util
from pathlib import Path

import pytest
import torch

FILE = Path(__file__).resolve().parents[2] / "model_patchers" / "sigma.py"


@pytest.fixture
def read_sigma():
    """The function alone: its package needs a ComfyUI."""
    spec = importlib.util.spec_from_file_location("sigma", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.read_sigma


class OnAnotherGpu(torch.Tensor):
    """Says that it is on ``cuda:1``; its copies on their way to the host hold what was never written yet."""

    is_cuda = True
    device = torch.device("cuda:1")

    def __new__(cls, values):
        return torch.tensor(values).as_subclass(cls)


@pytest.fixture
def current_device_is_another_one(monkeypatch):
    """Whoever asks for events and streams without a device gets those of ``cuda:0``, behind which nothing waits."""

    class Event:
        def record(self, stream=None):
            pass

        def synchronize(self):
            pass

    empty = torch.empty
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch, "empty", lambda *size, pin_memory=False, **kw: empty(*size, **kw).fill_(torch.nan))
    copy = torch.Tensor.copy_
    monkeypatch.setattr(
        torch.Tensor, "copy_", lambda self, *a, non_blocking=False, **kw: self if non_blocking else copy(self, *a, **kw)
    )


@pytest.mark.parametrize("values", [[0.25], [0.25, 0.25], 0.25], ids=["one", "a batch", "no dimension"])
def test_a_model_on_another_device_than_the_current_one(read_sigma, current_device_is_another_one, values):
    assert read_sigma(OnAnotherGpu(values)) == [0.25]


def test_half_precision(read_sigma):
    assert read_sigma(torch.tensor([0.5], dtype=torch.bfloat16)) == [0.5]
