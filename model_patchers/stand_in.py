"""The run's own guider, model and patcher for a sampler that is asked: everything but the network.

A sampler's function may read whatever hangs on the model that it is given: its device, how it was trained, the scale
of the guidance, the conds.  A list of what they read would never be whole, so it is read from the real objects.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from comfy.patcher_extension import copy_nested_dicts
from torch import Tensor

CPU = torch.device("cpu")  # where the toy is, whatever the model's device


class StandIn:
    """Reads as ``real`` does, ``instead`` apart; what is written stays here, and calling it is refused.

    Methods of ``real`` run on the stand-in, so that what they write stays here too.
    """

    def __init__(self, real: Any, **instead: Any) -> None:
        vars(self).update(instead, _real=real)

    @property
    def __class__(self) -> type:
        return type(vars(self)["_real"])  # samplers tell kinds of models apart by isinstance

    def __getattr__(self, name: str) -> Any:
        real = vars(self)["_real"]
        found = getattr(real, name)
        own = isinstance(found, MethodType) and found.__self__ is real
        return MethodType(found.__func__, self) if own else found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)


def guider_stand_in(guider: Any, sigmas: Tensor, predict: Callable[..., Tensor]) -> StandIn:
    """For ``guider``, whose ``predict_noise`` is ``predict``, in a run along ``sigmas``.

    Of its options only the ``transformer_options`` are there: guidance that other nodes have put into the rest belongs
    to the model, and runs it.
    """
    patcher = guider.model_patcher
    options = {
        "transformer_options": {
            **copy_nested_dicts(guider.model_options.get("transformer_options", {})), "sample_sigmas": sigmas,
        }
    }  # fmt: skip
    sampling = patcher.get_model_object("model_sampling")
    network = StandIn(patcher.model.diffusion_model, forward=_refuse)
    model = StandIn(
        patcher.model, device=CPU, model_sampling=sampling, diffusion_model=network, apply_model=_refuse,
        _apply_model=_refuse, forward=_refuse,
    )  # fmt: skip
    instead = {"model_sampling": sampling, "diffusion_model": network}

    def get_model_object(name: str) -> Any:
        return instead[name] if name in instead else patcher.get_model_object(name)

    model.current_patcher = StandIn(
        patcher, model=model, model_options=options, load_device=CPU, offload_device=CPU,
        get_model_object=get_model_object, forward=_refuse,
    )  # fmt: skip
    return StandIn(
        guider, inner_model=model, model_patcher=model.current_patcher, model_options=options,
        conds={name: [*conds] for name, conds in getattr(guider, "conds", {}).items()},
        predict_noise=predict, outer_predict_noise=predict, forward=predict,
    )  # fmt: skip


def _refuse(*_: Any, **__: Any) -> Any:
    raise RuntimeError("it runs the network past its sampler's model")
