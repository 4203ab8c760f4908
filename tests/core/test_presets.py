"""Preset, policy and typed numbers: which wins, and what wrong ones are answered with."""

import itertools
import math
from dataclasses import replace
from itertools import product

import pytest

from dicache_core import DEFAULT_PRESET, PRESETS, CacheConfig, Calibration, Policy, needs_stack, resolve
from dicache_core.effective_settings import limit_text
from dicache_core.policies import POLICIES, check_companions, chosen_policy, named_policy
from dicache_core.presets import PUBLISHED, forecast_instead, published, published_note
from dicache_core.schedule import Schedule

OWN = ("fidelity", "balanced", "fast")
ARCHITECTURES = ("flux", "chroma", "hunyuan_video", "wan", "unet", "qwen_image", "ltx_video", "no such model")


def rules(config: CacheConfig) -> tuple[str, str]:
    return config.indicator, config.predictor


def refused(*arguments, **typed) -> str:
    """The sentence that ``resolve`` refuses this with."""
    with pytest.raises(ValueError, match="write") as error:
        resolve(*arguments, **typed)
    assert "\n" not in str(error.value)
    return str(error.value)


# -- presets -----------------------------------------------------------------------------------------------------


def test_the_default_is_balanced():
    assert DEFAULT_PRESET == "balanced"
    assert resolve("flux") == resolve("flux", "balanced")


@pytest.mark.parametrize("architecture", ["flux", "hunyuan_video", "wan"])
def test_the_published_preset_is_the_published_table(architecture):
    assert resolve(architecture, "published") == published(architecture) == PUBLISHED[architecture]
    assert [PUBLISHED[name].threshold for name in ("flux", "hunyuan_video", "wan")] == [0.4, 0.1, 0.08]


def test_every_preset_covers_every_architecture():
    for preset, architecture in itertools.product(PRESETS, ARCHITECTURES):
        config = resolve(architecture, preset)
        assert config.architecture == architecture
        assert config.threshold > 0, (preset, architecture)


@pytest.mark.parametrize("preset", OWN)
def test_the_packs_own_presets_are_speeds_and_the_same_for_every_architecture(preset):
    configs = {replace(resolve(architecture, preset), architecture="") for architecture in ARCHITECTURES}
    assert len(configs) == 1
    (config,) = configs
    assert rules(config) == ("forecast", "corrected_line")
    assert (config.target, config.warmup_of(30)) == (dict(fidelity="1.5x", balanced="2x", fast="3x")[preset], 1)


def test_where_nothing_was_published_the_papers_rule_is_steered_and_says_so():
    config = resolve("qwen_image", "published")
    assert config == CacheConfig(architecture="qwen_image", gamma_max=1.5, target="2x", few_steps=8)
    assert rules(config) == ("delta_y", "trajectory")
    assert config.warmup_of(30) == 6
    assert published_note("qwen_image") == "The paper has no numbers for Qwen-Image: its rule is used, at 2x."
    assert published_note("no_such_model").startswith("The paper has no numbers for no such model: ")
    assert published_note("wan") is None


# -- typed numbers without a policy ------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("typed", [{"threshold": 0.25}, {"probe_depth": 2}, {"threshold": 0.25, "probe_depth": 3}])
def test_a_typed_threshold_or_depth_is_the_papers_method_whatever_the_preset(preset, typed):
    config = resolve("wan", preset, **typed)
    assert replace(config, few_steps=0) == replace(published("wan"), **typed)


@pytest.mark.parametrize("preset", PRESETS)
def test_warm_up_and_longest_run_count_for_whatever_rule_is_in_force(preset):
    config = resolve("wan", preset, warmup_steps=4, max_consecutive=3)
    assert config == replace(resolve("wan", preset), warmup_steps=4, max_consecutive=3)


@pytest.mark.parametrize(("preset", "protected"), [("balanced", True), ("fast", True), ("published", False)])
def test_a_typed_threshold_keeps_an_own_presets_protection_of_short_schedules(preset, protected):
    config = resolve("flux", preset, threshold=9.0, warmup_steps=0)
    for steps, short in ((4, True), (8, True), (9, False)):
        schedule = Schedule(tuple(1 - i / steps for i in range(steps + 1)))
        closed = config.block_reason(schedule.step_at(schedule.sigmas[1]))
        assert closed == ("few steps" if short and protected else None)


def test_a_typed_number_ends_the_steering_only_where_it_is_a_threshold():
    assert resolve("qwen_image", "published", threshold=0.2).target == ""
    assert resolve("qwen_image", "published", probe_depth=2).target == "2x"


@pytest.mark.parametrize("preset", PRESETS)
def test_zero_is_a_threshold_and_a_warm_up_that_can_be_typed(preset):
    config = resolve("flux", preset, threshold=0.0, warmup_steps=0, max_consecutive=0)
    assert (config.threshold, config.warmup_steps, config.max_consecutive) == (0.0, 0, 0)


def test_a_depth_of_zero_is_refused():
    assert "probe_depth is 0: write the number of blocks" in refused("flux", probe_depth=0)


# -- with a policy -----------------------------------------------------------------------------------------------


def test_a_policy_brings_its_own_numbers_and_the_published_rest():
    """No preset's warm-up, target or protection leaks into another rule."""
    for preset, name in itertools.product(PRESETS, sorted(set(POLICIES) - {"forecast"})):
        ours = resolve("flux", preset, named_policy(name))
        assert ours == named_policy(name).applied_to(published("flux")), (preset, name)


def test_policy_dicache_on_an_own_preset_is_the_paper_with_its_warm_up():
    config = resolve("hunyuan_video", "balanced", named_policy("dicache"))
    assert config == published("hunyuan_video")
    assert config.warmup_of(50) == 10


def test_policies_on_a_unet_take_nothing_of_deepcaches_numbers():
    assert resolve("unet", policy=POLICIES["dicache"]) == replace(published("sdxl"), architecture="unet")
    assert resolve("unet", policy=POLICIES["dicache_delta_minus"]).target == "2x"
    assert resolve("unet", policy=POLICIES["fbcache"]).warmup_steps is None


@pytest.mark.parametrize(("preset", "target"), [("fidelity", "1.5x"), ("balanced", "2x"), ("fast", "3x")])
def test_policy_forecast_keeps_the_target_of_a_preset_of_its_own(preset, target):
    assert resolve("flux", preset, named_policy("forecast")) == resolve("flux", preset)
    assert resolve("flux", preset, named_policy("forecast")).target == target
    assert resolve("flux", preset, chosen_policy("forecast", target="12")).target == "12"


def test_policy_forecast_has_a_target_under_every_preset():
    assert resolve("flux", "published", named_policy("forecast")).target == "2x"


def test_a_number_typed_on_apply_wins_where_the_policy_knows_it():
    policy = Policy("delta_minus", "reuse", threshold=0.7, probe_depth=3)
    config = resolve("flux", "fast", policy, threshold=0.25, probe_depth=2, warmup_steps=0, max_consecutive=4)
    assert (config.threshold, config.probe_depth, config.warmup_steps, config.max_consecutive) == (0.25, 2, 0, 4)
    assert rules(config) == ("delta_minus", "reuse")
    assert resolve("flux", policy=named_policy("dicache"), threshold=0.25) == replace(published("flux"), threshold=0.25)
    assert resolve("flux", policy=named_policy("teacache"), warmup_steps=5).warmup_steps == 5


@pytest.mark.parametrize("architecture", ["flux", "qwen_image"])
def test_a_threshold_typed_on_apply_ends_a_target_that_nobody_typed(architecture):
    config = resolve(architecture, policy=named_policy("dicache"), threshold=0.25)
    assert (config.threshold, config.target) == (0.25, "")


COUNTING = [name for name, policy in POLICIES.items() if policy.interval is not None]


def test_the_policies_that_count_steps():
    """Each has a number of its own."""
    assert set(COUNTING) == {name for name, policy in POLICIES.items() if policy.limited_by == "interval"}
    assert {"taylorseer_1", "output_line", "forecast_even", "spectrum", "fastercache", "deepcache"} <= set(COUNTING)


def test_a_threshold_typed_on_apply_is_refused_where_the_policy_knows_none():
    reasons = dict.fromkeys(COUNTING, "computes every n-th step")
    for name, why in {**reasons, "step_mask": "its mask", "forecast": "follows a target"}.items():
        message = refused("flux", "published", named_policy(name), threshold=0.4)
        assert message.startswith("threshold is 0.4, but"), name
        assert why in message, name


def test_a_threshold_beside_a_typed_target_is_refused():
    message = refused("flux", policy=chosen_policy("fbcache", target="2x"), threshold=0.4)
    assert "threshold is 0.4, but the connected DiCache Policy has the target 2x" in message


@pytest.mark.parametrize("name", ["teacache", "easycache", "magcache", "taylorseer_1", "forecast", "step_mask"])
def test_a_depth_typed_on_apply_is_refused_where_the_policy_runs_no_probe(name):
    assert "probe_depth is 2, but" in refused("flux", policy=named_policy(name), probe_depth=2)


@pytest.mark.parametrize("name", ["dicache", "fbcache", "hyca", "trajectory_error_output"])
def test_a_depth_typed_on_apply_counts_where_the_policy_runs_a_probe(name):
    assert resolve("flux", policy=named_policy(name), probe_depth=2).probe_depth == 2


def test_a_threshold_of_zero_never_skips_whatever_the_policy():
    for name in POLICIES:
        assert resolve("flux", policy=named_policy(name), threshold=0.0).threshold == 0.0, name
        assert resolve("flux", policy=chosen_policy(name, threshold=0.0)).threshold == 0.0, name


# -- what is typed on DiCache Policy -----------------------------------------------------------------------------


def test_nothing_typed_is_the_policy_itself():
    assert chosen_policy("fbcache") == named_policy("fbcache")


def test_an_interval_is_a_number_of_its_own():
    for name in COUNTING:
        config = resolve("flux", policy=chosen_policy(name, interval=5))
        assert config.interval == 5, name
        assert limit_text(config) == "every 5th step", name


# What each policy takes of the values on DiCache Policy that limit it; warmup_steps counts for all of them.
TYPED = {"target": "2x", "threshold": 0.3, "interval": 3, "mask": "1,1,0,1", "curve": "mine"}
OF_BLOCKS = {name: {"mask": "double 0-1"} for name, policy in POLICIES.items() if policy.in_parts}
TAKES_A_THRESHOLD = {name for name, policy in POLICIES.items() if policy.limited_by == "threshold"}
NEEDS = {name: {"curve"} for name, policy in POLICIES.items() if policy.calibrated} | {"step_mask": {"mask"}}


def test_who_takes_and_needs_what():
    assert {"dicache", "trajectory_error", "fbcache", "easycache", "magcache"} <= TAKES_A_THRESHOLD
    assert {"magcache", "smoothcache", "procache", "meancache", "step_mask"} <= set(NEEDS)


def taken_by(name: str) -> set[str]:
    limit = {"threshold"} if name in TAKES_A_THRESHOLD else {"interval"} if name in COUNTING else set()
    listed = {"mask"} if POLICIES[name].limited_by == "mask" else set()
    speed = set() if name == "step_mask" or POLICIES[name].in_parts else {"target"}
    return limit | NEEDS.get(name, set()) | listed | speed


def as_the_node_does(name: str, given: dict) -> Policy:
    check_companions(name, given.get("mask", ""), given.get("curve", ""))
    curve = Calibration("flux", (0.0, 0.9)) if "curve" in given else None
    return chosen_policy(name, **{key: value for key, value in given.items() if key != "curve"}, calibration=curve)


def test_a_value_that_a_policy_does_not_use_is_refused_by_name():
    """Every policy with each field, and with what it cannot do without."""
    for name, field in product(POLICIES, TYPED):
        value = OF_BLOCKS.get(name, {}).get(field, TYPED[field])
        given = {need: TYPED[need] for need in NEEDS.get(name, ())} | {field: value}
        if field in taken_by(name):
            policy = as_the_node_does(name, given)
            assert field == "curve" or getattr(policy, field) == value, name
        else:
            name_of_it = "calibration" if field == "curve" else field
            with pytest.raises(ValueError, match=rf"^{name_of_it} is '?{value}'?, but .*(set|clear|choose)") as error:
                as_the_node_does(name, given)
            assert "\n" not in str(error.value)


@pytest.mark.parametrize("mask", ["", " ", " , "])
def test_an_empty_mask_is_not_one_that_nobody_typed(mask):
    with pytest.raises(ValueError, match="step_mask needs a mask: write 1 for a computed and 0"):
        check_companions("step_mask", mask, "")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ({"name": "luck"}, "unknown policy 'luck': write one of .*dicache"),
        ({"name": "fbcache", "interval": 3}, "interval is 3, but this policy has no interval"),
        ({"name": "foca", "interval": 0}, "interval is 0: write 1"),
        ({"name": "foca", "interval": -2}, "interval is -2: write 1"),
        ({"name": "foca", "interval": 3, "threshold": 3.0}, "threshold is 3, but this policy computes every n-th step"),
        (
            {"name": "foca", "interval": 3, "target": "2x"},
            "target is '2x' and interval is 3: set either target or interval",
        ),
        (
            {"name": "fbcache", "threshold": 0.2, "target": "2x"},
            "target is '2x' and threshold is 0.2: set either target or",
        ),
        ({"name": "forecast", "threshold": 0.2}, "threshold is 0.2, but this policy follows a target"),
        ({"name": "step_mask", "threshold": 0.2}, "threshold is 0.2, but this policy follows its mask"),
        (
            {"name": "step_mask", "mask": "1,0", "target": "3x"},
            "target is '3x', but this policy follows its mask: clear target",
        ),
        ({"name": "foca", "threshold": 0.4}, "threshold is 0.4, but this policy computes every n-th .* set interval"),
        ({"name": "foca", "threshold": math.nan}, "threshold is nan: write -1"),
        ({"name": "fbcache", "threshold": -0.5}, "threshold is -0.5: write -1"),
        ({"name": "fbcache", "target": "fast"}, "target is 'fast': write a speed"),
        ({"name": "fbcache", "warmup_steps": -3}, "warmup_steps is -3: write"),
    ],
)
def test_what_a_policy_cannot_mean_is_refused_in_one_line(typed, message):
    with pytest.raises(ValueError, match=message) as error:
        chosen_policy(**typed)
    assert "\n" not in str(error.value)


def test_mask_and_curve_go_to_the_policies_that_read_them():
    curve = Calibration("flux", (0.0, 0.9))
    assert chosen_policy("step_mask", mask="1,0", calibration=curve).mask == "1,0"
    assert chosen_policy("magcache", mask="1,0", calibration=curve).calibration is curve
    assert chosen_policy("fbcache", mask="1,0", calibration=curve) == named_policy("fbcache")


def test_a_curve_of_another_architecture_is_refused_by_both_names():
    policy = chosen_policy("magcache", calibration=Calibration("hunyuan_video", (0.0, 0.9)))
    assert resolve("hunyuan_video", policy=policy).magnitude_ratios == (0.0, 0.9)
    with pytest.raises(ValueError, match="made for HunyuanVideo, but this model is Flux: run DiCache Calibrate"):
        resolve("flux", policy=policy)


# -- wrong values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": math.nan}, "threshold is nan: write -1"),
        ({"threshold": math.inf}, "threshold is inf: write -1"),
        ({"threshold": 1e9}, "threshold is 1e.09: write .* up to 10"),
        ({"threshold": -0.5}, "threshold is -0.5: write -1"),
        ({"preset": "turbo"}, "unknown preset 'turbo': write one of balanced, .*fast, fidelity, published"),
        ({"probe_depth": -3}, "probe_depth is -3: write"),
        ({"warmup_steps": -3}, "warmup_steps is -3: write"),
        ({"max_consecutive": -3}, "max_consecutive is -3: write"),
        ({"start_percent": 0.8, "end_percent": 0.2}, "start_percent 0.8 to end_percent 0.2 .* write two numbers"),
        ({"start_percent": math.nan}, "start_percent nan .* write two numbers"),
        ({"cache_device": "tpu"}, "cache_device is 'tpu': write one of auto, gpu, cpu"),
    ],
)
def test_wrong_values_say_what_to_write_in_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        resolve("flux", **arguments)
    assert "\n" not in str(error.value)


def test_policy_refuses_names_and_numbers_when_it_is_made():
    with pytest.raises(ValueError, match="unknown indicator 'crystal ball': write one of"):
        Policy("crystal ball", "reuse")
    with pytest.raises(ValueError, match="unknown predictor 'dice': write one of"):
        Policy("delta_y", "dice")
    with pytest.raises(ValueError, match="probe_depth is -2"):
        Policy("delta_y", "reuse", probe_depth=-2)


def test_the_forecast_method_takes_the_place_of_one_that_looks_at_blocks():
    """At its target, else the default preset's speed; numbers that count for whatever rule is in force stay."""
    typed = dict(warmup_steps=4, max_consecutive=2, start_percent=0.1, end_percent=0.9, cache_device="cpu")
    instead = forecast_instead(resolve("flux", "published", **typed))
    assert instead == resolve("flux", "balanced", **typed)
    assert not needs_stack(instead)
    assert forecast_instead(resolve("minimax_h3", "published")) == resolve("minimax_h3", "balanced")
    aimed = forecast_instead(resolve("flux", policy=chosen_policy("fbcache", target="3x")))
    assert aimed.target == "3x"
    assert aimed.adaptive, "the speed is an upper bound, as in the presets"
