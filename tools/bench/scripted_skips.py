"""Skipped calls by a script: what a method's rules cost is measured, what they say is not followed."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cache
from types import ModuleType
from typing import Any

WARMUP = 2  # steps: the host's caches need two computed ones before they can skip, and so the others get two

Skips = Callable[[int, int], bool]  # (step, sample's row in the batch) -> whether it is skipped


def at(*steps: int) -> Skips:
    """The script that skips these steps for every sample."""
    chosen = frozenset(steps)
    return lambda step, _row: step in chosen


def dicache(pack: ModuleType, architecture: str, skips: Skips) -> Any:
    """The paper's method with the numbers that it has for this architecture."""
    return scripted(pack, pack.dicache_core.presets.papers_method(architecture), skips)


def forecast(pack: ModuleType, architecture: str, skips: Skips) -> Any:
    """The forecast method as the default preset sets it."""
    return scripted(
        pack, pack.dicache_core.presets.preset_config(pack.dicache_core.DEFAULT_PRESET, architecture), skips
    )


METHODS = {"dicache": dicache, "forecast": forecast}


def scripted(pack: ModuleType, config: Any, skips: Skips) -> Any:
    """The settings ``config``, whose runs skip by ``skips`` behind the warm-up, up to the last step.

    Rules are asked as ever, with all that they measure; only their answer is replaced.
    """
    settings = {field.name: getattr(config, field.name) for field in fields(config)}
    cls = _scripted_config(pack)
    return replace(cls(**settings, skips=skips), warmup_steps=WARMUP, few_steps=0)


@cache
def _scripted_config(pack: ModuleType) -> type:
    """Settings with a script; decisions of the pack's runs with them follow it."""
    core = pack.dicache_core
    stream_group, histories = (sys.modules[f"{core.__name__}.engine.{name}"] for name in ("stream_group", "histories"))
    ordinary = histories.Histories._group

    @dataclass(frozen=True)
    class ScriptedConfig(core.CacheConfig):
        skips: Skips | None = None

    class ScriptedGroup(stream_group.StreamGroup):
        def __init__(self, config: ScriptedConfig, row: int) -> None:
            super().__init__(config)
            self.row = row

        def _decided(self, obs: Any, error: float, latent_error: Callable[[], float | None]) -> Any:
            own = super()._decided(obs, error, latent_error)
            skip = self.config.skips(obs.step.global_step, self.row)
            if skip and own.latent_error is None:  # rules ask for it where they skip
                latent_error()
            return replace(own, reuse=skip, reason=core.Reason.REUSED if skip else core.Reason.ERROR)

    def scripted_group(self: Any, key: Any) -> Any:
        config, decision_key = self._run.config, self._decision_key(key)
        if isinstance(config, ScriptedConfig) and decision_key not in self._groups:
            self._groups[decision_key] = ScriptedGroup(config, key.row)
        return ordinary(self, key)

    histories.Histories._group = scripted_group
    return ScriptedConfig
