"""Steps of ten, and what a method makes of them; every entry of a tensor being the number given."""

import torch
from core.toys import error_of, hidden, schedule

from dicache_core import CacheConfig
from dicache_core.methods.indicators import indicator_class
from dicache_core.methods.predictors import predictor_class
from dicache_core.observation import Observation

TEN = schedule()  # sigmas 1, 0.9, ... 0.1, 0


def seen(step: int, h0=0.0, hm=0.0, latent=0.0, modulated=0.0) -> Observation:
    """Step ``step`` of ten."""
    h0, hm, latent, modulated = (hidden(float(v))[0] for v in (h0, hm, latent, modulated))
    return Observation(TEN.step_at(TEN.sigmas[step]), latent=latent, h0=h0, hm=hm, modulated=modulated)


def errors(name: str, *steps: tuple[Observation, object], **settings) -> list[float]:
    """Errors along steps of (observation, value learnt or None where the step is reused)."""
    indicator, found = indicator_class(name)(CacheConfig(threshold=1.0, **settings)), []
    for observation, value in steps:
        found.append(error_of(indicator, observation))
        indicator.follow(observation)
        if value is not None:
            indicator.learn(observation, value if isinstance(value, torch.Tensor) else hidden(float(value))[0])
    return found


def recorded(predictor, anchors):
    """A predictor (or the name of one) after computed steps of (observation, value)."""
    if isinstance(predictor, str):
        predictor = predictor_class(predictor)(CacheConfig(threshold=1.0))
    assert not predictor.ready
    for observation, value in anchors:
        predictor.record(observation, value if isinstance(value, torch.Tensor) else hidden(float(value))[0])
    assert predictor.ready
    return predictor


def forecast(predictor, now: Observation, shape=(2, 2)) -> torch.Tensor:
    """What it makes of the step ``now``."""
    out = torch.empty(shape)
    predictor.plan(now, [s.item() for s in predictor.measure(now)])
    predictor.forecast(out)
    return out


def rebuilt(predictor, anchors, now: Observation) -> float:
    """The same as one number."""
    out = forecast(recorded(predictor, anchors), now)
    assert out.std() == 0
    return out[0, 0].item()
