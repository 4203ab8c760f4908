"""What holds for every policy of the table."""

from dataclasses import replace

import pytest
import torch
from core.toys import hidden, run_pass, schedule, session

from dicache_core import CacheConfig, CacheSession, Calibration, Policy, SampleKey, resolve
from dicache_core.effective_settings import limit_text
from dicache_core.methods.indicators import INDICATORS
from dicache_core.methods.predictors import PREDICTORS, Space
from dicache_core.policies import POLICIES, chosen_policy, named_policy

TEN = schedule()


@pytest.mark.parametrize("architecture", ["flux", "chroma", "hunyuan_video", "wan", "no such model"])
def test_every_policy_has_a_limit_for_every_architecture(architecture):
    for name, policy in POLICIES.items():
        config = resolve(architecture, policy=policy)
        assert config.threshold > 0, name
        assert limit_text(config) not in ("1", "0"), name  # neither a default that nobody chose nor never
        assert config.architecture == architecture, name
        assert config.indicator in INDICATORS, name
        assert config.predictor in PREDICTORS, name


def test_thresholds_per_architecture_give_way_to_one_that_was_written():
    policy = Policy("teacache", "reuse", thresholds={"flux": 0.4})
    assert resolve("flux", policy=policy).threshold == 0.4
    assert resolve("wan", policy=policy).threshold == 0.08
    assert resolve("wan", policy=replace(policy, thresholds={"flux": 0.4, "": 0.2})).threshold == 0.2
    assert resolve("flux", policy=replace(policy, threshold=0.3)).threshold == 0.3


@pytest.mark.parametrize("architecture", ["flux", "unet", "qwen_image"])
@pytest.mark.parametrize(
    ("policy", "few_steps"),
    [
        (chosen_policy("deepcache"), 0),
        (chosen_policy("fbcache"), 0),
        (chosen_policy("dicache", target="12"), 0),
        (chosen_policy("dicache", target="2x"), 8),
        (chosen_policy("forecast", target="2x"), 3),
    ],
)
def test_only_a_speed_is_turned_down_where_steps_are_few(policy, few_steps, architecture):
    """Whether anything was published for the architecture makes no difference."""
    assert resolve(architecture, policy=policy).few_steps == few_steps


def test_an_unknown_policy_names_the_known_ones():
    with pytest.raises(ValueError, match="dicache"):
        named_policy("luck")


@pytest.mark.parametrize(("interval", "computed"), [(1, "1111111111"), (2, "1010101011"), (3, "1001001001")])
def test_every_interval_th_step_is_computed(interval, computed):
    config = CacheConfig(indicator="fixed", predictor="output_reuse", interval=interval, warmup_steps=1)
    run, found = CacheSession(config, TEN), ""
    for sigma in TEN.sigmas[:-1]:
        cache = run.forward([SampleKey("cond", 0)], TEN.step_at(sigma), torch.zeros(1, 1, 2, 2))
        found += "0" if all(cache.decide()) else "1"
        cache.observe(torch.ones(1, 1, 2, 2))
    assert found == computed


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_with_threshold_0_looks_at_nothing_and_accounts_for_nothing(name):
    curve = Calibration("flux", (0.0, 1.0), ((0.1,), (0.1,)), ((0.1,), (0.1,)), ((0.1,), (0.1,)))
    policy = replace(POLICIES[name], threshold=0.0, target="", calibration=curve)
    run = CacheSession(resolve("flux", policy=policy), TEN)
    assert run.needs_no_stack
    for sigma in TEN.sigmas[:-1]:
        cache = run.forward([SampleKey("cond", 0)], TEN.step_at(sigma), torch.zeros(1, 1, 2, 2))
        assert cache.decide() == (False,)
        v = torch.ones(1, 1, 2, 2)
        assert cache.observe(v) is v
        assert torch.equal(v, torch.ones(1, 1, 2, 2))


# These go on along a line, the others are off by no more than reuse is: the residual grows by 1 per step.
ALONG_THE_LINE = {"trajectory", "taylor1", "taylor2", "foca", "hyca", "channel_correction"}


@pytest.mark.parametrize("name", [n for n, c in PREDICTORS.items() if c.space is Space.RESIDUAL])
def test_every_residual_predictor_runs_in_a_session(name):
    run = session(predictor=name, threshold=10.0, warmup_steps=5, gamma_max=2.0)
    for step in range(5):
        run_pass(run, step, hidden(1.0), hidden(2.0 + step), hidden(1.0))  # R = 2 + step
    reuse, hM = run_pass(run, 5, hidden(1.0), hidden(7.0), hidden(99.0))
    assert reuse == (True,)
    assert torch.allclose(hM, hidden(8.0), atol=(0.0 if name in ALONG_THE_LINE else 1.0) + 1e-4)
