"""Preset, policy and typed numbers: which wins, and what wrong ones are answered with."""

import math
from dataclasses import replace

import pytest

from dicache_core import (
    DEFAULT_PRESET,
    POLICIES,
    PRESETS,
    PUBLISHED,
    CacheConfig,
    Curve,
    Policy,
    Schedule,
    chosen_policy,
    limit_text,
    named_policy,
    published,
    published_note,
    resolve,
)

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


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_preset_covers_every_architecture(preset, architecture):
    config = resolve(architecture, preset)
    assert config.architecture == architecture
    assert config.threshold > 0


@pytest.mark.parametrize("preset", OWN)
def test_the_packs_own_presets_are_speeds_and_the_same_for_every_architecture(preset):
    configs = {replace(resolve(architecture, preset), architecture="") for architecture in ARCHITECTURES}
    assert len(configs) == 1
    (config,) = configs
    assert rules(config) == ("foreseen", "corrected_line")
    assert (config.target, config.warmup_of(30)) == (dict(fidelity="1.5x", balanced="2x", fast="3x")[preset], 1)


def test_where_nothing_was_published_the_papers_rule_is_steered_and_says_so():
    config = resolve("qwen_image", "published")
    assert config == CacheConfig(architecture="qwen_image", gamma_max=1.5, target="2x", few_steps=8)
    assert rules(config) == ("delta_y", "trajectory")
    assert config.warmup_of(30) == 6
    assert published_note("qwen_image") == "Nothing was published for Qwen-Image: the paper's rule, steered to 2x."
    assert published_note("no_such_model").startswith("Nothing was published for no such model: ")
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
        closed = config.closed(schedule.step_at(schedule.sigmas[1]))
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


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", sorted(set(POLICIES) - {"foreseen"}))
def test_a_policy_brings_its_own_numbers_and_the_published_rest(preset, name):
    """No preset's warm-up, target or protection leaks into another rule."""
    assert resolve("flux", preset, named_policy(name)) == named_policy(name).applied_to(published("flux"))


def test_policy_dicache_on_an_own_preset_is_the_paper_with_its_warm_up():
    config = resolve("hunyuan_video", "balanced", named_policy("dicache"))
    assert config == published("hunyuan_video")
    assert config.warmup_of(50) == 10


def test_policies_on_a_unet_take_nothing_of_deepcaches_numbers():
    assert resolve("unet", policy=POLICIES["dicache"]) == replace(published("sdxl"), architecture="unet")
    assert resolve("unet", policy=POLICIES["dicache_delta_minus"]).target == "2x"
    assert resolve("unet", policy=POLICIES["fbcache"]).warmup_steps is None


@pytest.mark.parametrize(("preset", "target"), [("fidelity", "1.5x"), ("balanced", "2x"), ("fast", "3x")])
def test_policy_foreseen_keeps_the_target_of_a_preset_of_its_own(preset, target):
    assert resolve("flux", preset, named_policy("foreseen")) == resolve("flux", preset)
    assert resolve("flux", preset, named_policy("foreseen")).target == target
    assert resolve("flux", preset, chosen_policy("foreseen", target="12")).target == "12"


def test_policy_foreseen_has_a_target_under_every_preset():
    assert resolve("flux", "published", named_policy("foreseen")).target == "2x"


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
    assert set(COUNTING) == {
        "taylorseer_1", "taylorseer_2", "foca", "hyca", "fixed_interval", "output_reuse", "output_line",
        "corrected_line", "deepcache", "spectrum", "spectrum_output", "hicache", "freqca", "tc_pade", "cachequant",
        "fastercache",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "why"),
    [
        *((name, "computes every n-th step") for name in COUNTING),
        ("step_mask", "its mask"),
        ("foreseen", "steered by a target"),
    ],
)
def test_a_threshold_typed_on_apply_is_refused_where_the_policy_knows_none(name, why):
    message = refused("flux", "published", named_policy(name), threshold=0.4)
    assert message.startswith("threshold is 0.4, but")
    assert why in message


def test_a_threshold_beside_a_typed_target_is_refused():
    message = refused("flux", policy=chosen_policy("fbcache", target="2x"), threshold=0.4)
    assert "threshold is 0.4, but the connected DiCache Policy aims for 2x" in message


@pytest.mark.parametrize("name", ["teacache", "easycache", "magcache", "taylorseer_1", "foreseen", "step_mask"])
def test_a_depth_typed_on_apply_is_refused_where_the_policy_runs_no_probe(name):
    assert "probe_depth is 2, but" in refused("flux", policy=named_policy(name), probe_depth=2)


@pytest.mark.parametrize("name", ["dicache", "fbcache", "hyca", "trajectory_error_output"])
def test_a_depth_typed_on_apply_counts_where_the_policy_runs_a_probe(name):
    assert resolve("flux", policy=named_policy(name), probe_depth=2).probe_depth == 2


@pytest.mark.parametrize("name", POLICIES)
def test_a_threshold_of_zero_never_skips_whatever_the_policy(name):
    assert resolve("flux", policy=named_policy(name), threshold=0.0).threshold == 0.0
    assert resolve("flux", policy=chosen_policy(name, threshold=0.0)).threshold == 0.0


# -- what is typed on DiCache Policy -----------------------------------------------------------------------------


def test_nothing_typed_is_the_policy_itself():
    assert chosen_policy("fbcache") == named_policy("fbcache")


@pytest.mark.parametrize("name", COUNTING)
def test_an_interval_is_a_number_of_its_own(name):
    config = resolve("flux", policy=chosen_policy(name, interval=5))
    assert config.interval == 5
    assert limit_text(config) == "every 5th step"


@pytest.mark.parametrize(("threshold", "interval"), [(3.0, 3), (2.5, 3), (1.0, 1), (0.4, 1), (10.0, 10)])
@pytest.mark.parametrize("name", COUNTING)
def test_an_old_graphs_threshold_of_a_policy_that_counts_still_means_its_interval(name, threshold, interval):
    """E grew by 1 a step, and a step was skipped while E was below the threshold."""
    assert chosen_policy(name, threshold=threshold) == chosen_policy(name, interval=interval)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ({"name": "luck"}, "unknown policy 'luck': write one of .*dicache"),
        ({"name": "fbcache", "interval": 3}, "interval is 3, but this policy does not compute every n-th step"),
        ({"name": "foca", "interval": 0}, "interval is 0: write 1"),
        ({"name": "foca", "interval": -2}, "interval is -2: write 1"),
        ({"name": "foca", "interval": 3, "threshold": 3.0}, "threshold is 3, but this policy computes every n-th step"),
        ({"name": "foca", "interval": 3, "target": "2x"}, "target is '2x' beside interval 3: write one of them"),
        ({"name": "fbcache", "threshold": 0.2, "target": "2x"}, "target is '2x' beside threshold 0.2: write one"),
        ({"name": "foreseen", "threshold": 0.2}, "threshold is 0.2, but this policy is steered by a target"),
        ({"name": "step_mask", "threshold": 0.2}, "threshold is 0.2, but this policy computes the steps that its mask"),
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
    curve = Curve("flux", (0.0, 0.9))
    assert chosen_policy("step_mask", mask="1,0", curve=curve).mask == "1,0"
    assert chosen_policy("magcache", mask="1,0", curve=curve).curve is curve
    assert chosen_policy("fbcache", mask="1,0", curve=curve) == named_policy("fbcache")


def test_a_curve_of_another_architecture_is_refused_by_both_names():
    policy = chosen_policy("magcache", curve=Curve("hunyuan_video", (0.0, 0.9)))
    assert resolve("hunyuan_video", policy=policy).curve == (0.0, 0.9)
    with pytest.raises(ValueError, match="calibrated for HunyuanVideo, but this model is Flux: calibrate"):
        resolve("flux", policy=policy)


# -- wrong values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": math.nan}, "threshold is nan: write -1"),
        ({"threshold": math.inf}, "threshold is inf: write -1"),
        ({"threshold": 1e9}, "threshold is 1e.09: write .* up to 10"),
        ({"threshold": -0.5}, "threshold is -0.5: write -1"),
        ({"preset": "turbo"}, "unknown preset 'turbo': write one of .*balanced, fast, fidelity, published"),
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
