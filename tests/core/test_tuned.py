"""What is remembered of a model: which choice serves a run, and what a file has to be like."""

import json
from dataclasses import replace

import pytest

from dicache_core import DEFAULT_PRESET, CacheConfig, Choice, RunContext, TunedSettings, resolve
from dicache_core.calibration import LARGEST_FILE
from dicache_core.call_plan import CallPlan
from dicache_core.comparison import settings_of
from dicache_core.policies import chosen_policy
from dicache_core.presets import needs_tuned
from dicache_core.tuning.context import TUNED_MATCH_TEXTS, SamplerFamily, TunedMatch
from dicache_core.tuning.store import MOST_CHOICES, TunedModel

PLAIN, NOISY = SamplerFamily.DETERMINISTIC, SamplerFamily.STOCHASTIC


def choice(steps: int = 30, sampler: SamplerFamily = PLAIN, patched: bool = False, **changes) -> Choice:
    numbers = dict(goal="similar", policy="forecast", target="2x", speed=1.9, psnr=31.0, ssim=0.95) | changes
    return Choice(RunContext(sampler, steps, patched), **numbers)


PLAN = CallPlan((0.0, 0.25, 1.0), 30)


def remembered(*choices: Choice) -> TunedModel:
    return TunedModel("flux", "0123456789abcdef", choices)


@pytest.mark.parametrize(("steps", "served"), [(22, False), (23, True), (30, True), (40, True), (41, False)])
def test_a_choice_serves_up_to_a_third_more_steps_and_as_many_fewer(steps, served):
    found, recall = remembered(choice(30)).match(RunContext(PLAIN, steps))
    assert (found is not None) == served
    assert recall == (TunedMatch("fits", "similar", steps) if served else TunedMatch("steps", "", steps))
    assert RunContext(PLAIN, 30).range == (23, 40)


def test_the_nearest_number_of_steps_and_of_those_the_latest():
    known = remembered(choice(30), choice(24, goal="nearly the same"), choice(30, patched=True))
    assert known.find(RunContext(PLAIN, 28)) == choice(30, patched=True)
    assert known.find(RunContext(PLAIN, 25)) == choice(24, goal="nearly the same")


def test_another_kind_of_sampler_has_another_choice():
    known = remembered(choice(30))
    assert known.match(RunContext(NOISY, 30)) == (None, TunedMatch("sampler", "", 30))
    assert known.with_choice(choice(30, NOISY)).find(RunContext(NOISY, 30)) == choice(30, NOISY)


def test_a_sampler_with_more_calls_in_a_step_is_another_kind():
    heun = RunContext(PLAIN, 30, calls=2)
    assert remembered(choice(30)).match(heun) == (None, TunedMatch("sampler", "", 30))
    assert heun.sampler_text == "adds no noise, 2 calls a step"


def test_a_lora_does_not_lose_it_but_is_said():
    found, recall = remembered(choice()).match(RunContext(PLAIN, 30, patched=True))
    assert found == choice()
    assert recall.found == "patched"
    assert remembered(choice(patched=True)).match(RunContext(PLAIN, 30, patched=True))[1].found == "fits"


def test_tuning_again_replaces():
    known = remembered(choice(30), choice(10)).with_choice(choice(30, target="3x"))
    assert known.choices == (choice(10), choice(30, target="3x"))
    with_lora = choice(30, patched=True)
    assert known.with_choice(with_lora).choices == (choice(10), with_lora)


def part(begin: float, end: float = 1.0, steps: int = 30, **changes) -> Choice:
    return replace(choice(**changes), context=RunContext(PLAIN, steps, begin=begin, end=end))


def test_image_to_image_and_text_to_image_each_keep_their_choice():
    """Both samplers of a hires fix have schedules of 30 steps; the second one samples the last 6 of them."""
    whole, last = part(0.0, target="2x"), part(0.8, target="3x")
    for known in (remembered(whole).with_choice(last), remembered(last).with_choice(whole)):
        assert set(known.choices) == {whole, last}
        assert known.find(whole.context) == whole
        assert known.find(last.context) == last
        assert known.find(RunContext(PLAIN, 30, begin=0.7)) == whole, "further from the last fifth than it reaches"
        assert known.find(RunContext(PLAIN, 30, begin=0.75)) == last
    assert len(remembered(whole, last).describe().splitlines()) == 2
    assert "80% to 100% of the schedule" in remembered(last).describe()
    assert "schedule" not in remembered(whole).describe()


@pytest.mark.parametrize(
    ("tuned", "run", "served"),
    [
        ((0.0, 1.0), (0.5, 1.0), True),  # image to image, and the second of two experts
        ((0.0, 1.0), (0.0, 0.5), True),
        ((0.5, 1.0), (0.0, 1.0), False),
        ((0.8, 1.0), (0.74, 1.0), True),  # up to a third more
        ((0.8, 1.0), (0.73, 1.0), False),
        ((0.0, 0.5), (0.0, 0.66), True),
        ((0.0, 0.5), (0.0, 0.67), False),
        ((0.0, 0.5), (0.5, 1.0), False),
    ],
)
def test_a_choice_serves_the_part_of_a_schedule_that_it_was_measured_on(tuned, run, served):
    found, recall = remembered(part(*tuned)).match(RunContext(PLAIN, 30, begin=run[0], end=run[1]))
    assert (found is not None) == served
    assert recall.found == ("fits" if served else "part")


def test_the_first_thing_that_does_not_fit_is_said():
    known = remembered(part(0.8))
    found = [
        known.match(RunContext(sampler, steps))[1].found for sampler, steps in ((NOISY, 30), (PLAIN, 9), (PLAIN, 30))
    ]
    assert found == ["sampler", "steps", "part"]
    assert remembered().match(RunContext(PLAIN, 30))[1] == TunedMatch("model", "", 30)


def test_every_word_says_what_to_run_and_which_preset_took_its_place():
    fallbacks = {"model", "sampler", "steps", "part"}
    assert all(
        DEFAULT_PRESET in TUNED_MATCH_TEXTS[found] and "Run DiCache Tune" in TUNED_MATCH_TEXTS[found]
        for found in fallbacks
    )
    assert set(TUNED_MATCH_TEXTS) == {"fits", "patched"} | fallbacks


# -- the file ------------------------------------------------------------------------------------------------------


def test_there_and_back():
    known = remembered(choice(), choice(12, NOISY, True, policy="dicache", target=""), choice(9, plan=PLAN))
    assert TunedModel.from_json(known.to_json()) == known


def test_a_choice_with_a_plan_is_the_policy_that_follows_it():
    policy = choice(plan=PLAN).made()
    assert (policy.target, policy.plan) == ("2x", PLAN)
    config = resolve("flux", "tuned", tuned=policy)
    assert (config.plan, config.warmup_steps) == (PLAN, 1)
    assert resolve("flux", "tuned", tuned=choice().made()).plan is None
    assert "with a plan" in remembered(choice(plan=PLAN)).describe()
    assert "with a plan" not in remembered(choice()).describe()


def test_a_file_of_the_version_without_plans_is_read():
    content = json.loads(remembered(choice()).to_json())
    del content["choices"][0]["plan"]
    assert TunedModel.from_json(json.dumps({**content, "version": 2})) == remembered(choice())


def test_the_largest_file_can_be_read():
    long = [
        choice(steps + 1, sampler=SamplerFamily.FROM_THE_IMAGE, goal="w" * 100, psnr=31.123456789012345)
        for steps in range(200)
    ]
    known = remembered()
    for one in long:
        known = known.with_choice(one)
    assert known.choices == tuple(long[-MOST_CHOICES:])
    assert len(known.to_json()) <= LARGEST_FILE
    assert TunedModel.from_json(known.to_json()) == known


def test_plans_of_many_calls_leave_room_for_fewer_choices():
    long = CallPlan(tuple(i / 500 for i in range(500)), 1000)
    known = remembered()
    for steps in range(1, 30):
        known = known.with_choice(choice(steps, plan=long))
    assert len(known.to_json()) <= LARGEST_FILE
    assert 4 < len(known.choices) < 29
    assert known.choices[-1].context.steps == 29
    assert TunedModel.from_json(known.to_json()) == known


def changed(**changes) -> str:
    content = json.loads(remembered(choice()).to_json())
    for path, value in changes.items():
        *way, last = path.split("__")
        where = content
        for step in way:
            where = where[int(step[1:])] if step.startswith("n") and step[1:].isdigit() else where[step]
        where[last] = value
    return json.dumps(content)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '"text"',
        "[" * 60_000,
        remembered(choice()).to_json()[:-9],
        '{"architecture": "flux", "ratios": [1.0, 0.9]}',
        changed(version=1),
        changed(version="2"),
        changed(architecture=7),
        changed(fingerprint=None),
        changed(choices={}),
        changed(choices=[[]]),
        changed(choices=[{}]),
        changed(choices__n0__policy="no such policy"),
        changed(choices__n0__policy="step_mask"),
        changed(choices__n0__policy="magcache"),
        changed(choices__n0__policy=["forecast"]),
        changed(choices__n0__target="0.5x"),
        changed(choices__n0__target="2" * 400 + "x"),
        changed(choices__n0__speed="2"),
        changed(choices__n0__speed=True),
        changed(choices__n0__speed=float("nan")),
        changed(choices__n0__psnr=float("inf")),
        changed(choices__n0__ssim=-1),
        changed(choices__n0__psnr=10**400),
        changed(choices__n0__goal=""),
        changed(choices__n0__context=None),
        changed(choices__n0__context__steps=0),
        changed(choices__n0__context__steps=30.5),
        changed(choices__n0__context__patched=1),
        changed(choices__n0__context__begin="0.5"),
        changed(choices__n0__context__begin=float("nan")),
        changed(choices__n0__context__begin=-0.5),
        changed(choices__n0__context__end=1.5),
        changed(choices__n0__context__sampler="adds no noise"),
        changed(choices__n0__context__calls=0),
        changed(choices__n0__context__calls="1"),
        changed(choices__n0__plan=[0.0, 1.0]),
        changed(choices__n0__plan={"calls": 30}),
        changed(choices__n0__plan={"shares": [0.0, 1.0]}),
        changed(choices__n0__plan={"shares": "0, 1", "calls": 30}),
        changed(choices__n0__plan={"shares": [0.0, "1"], "calls": 30}),
        changed(choices__n0__plan={"shares": [0.0, True], "calls": 30}),
        changed(choices__n0__plan={"shares": [0.0, float("nan")], "calls": 30}),
        changed(choices__n0__plan={"shares": [0.0, 10**400], "calls": 30}),
        changed(choices__n0__plan={"shares": [1.0, 0.0], "calls": 30}),
        changed(choices__n0__plan={"shares": [0.0, 1.0], "calls": 30.5}),
        changed(choices__n0__plan={"shares": [0.0, 1.0], "calls": 30}, choices__n0__policy="dicache"),
        changed(version=True),
        " " * LARGEST_FILE + remembered(choice()).to_json(),
    ],
    ids=lambda text: repr(text[-40:]),
)
def test_everything_else_is_refused_with_what_to_do(text):
    with pytest.raises(ValueError, match="delete the file, or run DiCache Tune again"):
        TunedModel.from_json(text)


def test_what_a_later_version_adds_to_a_choice_does_not_matter():
    assert TunedModel.from_json(changed(choices__n0__note="more", more=1)) == remembered(choice())


# -- the preset ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["flux", "unet", "qwen_image", "no such model"])
def test_the_preset_is_the_policy_that_is_handed_in(architecture):
    policy = chosen_policy("forecast", target="2.5x")
    assert resolve(architecture, "tuned", tuned=policy) == resolve(architecture, policy=policy)
    assert resolve(architecture, "tuned", tuned=policy).target == "2.5x"


def test_the_papers_method_keeps_its_numbers():
    assert resolve("wan", "tuned", tuned=chosen_policy("dicache")) == resolve("wan", "published")
    assert resolve("unet", "tuned", tuned=chosen_policy("deepcache")) == resolve("unet", "published")


def test_without_one_it_says_what_to_run():
    with pytest.raises(ValueError, match="run DiCache Tune with it once, or choose the preset balanced") as error:
        resolve("hunyuan_video", "tuned")
    assert "HunyuanVideo" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("given", [{"threshold": 0.2}, {"probe_depth": 2}, {"policy": chosen_policy("fbcache")}])
def test_what_takes_the_place_of_a_presets_method_needs_no_memory(given):
    assert not needs_tuned("tuned", **given)
    assert resolve("flux", "tuned", **given) == resolve("flux", DEFAULT_PRESET, **given)
    assert needs_tuned("tuned", warmup_steps=3)
    assert not needs_tuned(DEFAULT_PRESET)


def test_compare_asks_for_what_was_tuned_only_where_it_is_named():
    def never():
        raise AssertionError("nobody asked for it")

    assert [label for label, _ in settings_of("fast, 2x", "flux", never)] == ["fast (3x)", "2x"]
    assert settings_of("tuned", "flux", lambda: "what was tuned") == [("tuned", "what was tuned")]
    with pytest.raises(ValueError, match="run DiCache Tune"):
        settings_of("tuned", "flux")


def test_settings_are_chosen_when_the_run_is_known():
    one, fallback = CacheConfig(target="3x"), CacheConfig(target="2x")
    settings = TunedSettings(remembered(choice()), fallback, {choice(): one})
    assert settings.for_run(RunContext(PLAIN, 30)) == (one, TunedMatch("fits", "similar", 30))
    assert settings.for_run(RunContext(PLAIN, 12)) == (fallback, TunedMatch("steps", "", 12))
