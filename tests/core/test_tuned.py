"""What is remembered of a model: which choice serves a run, and what a file has to be like."""

import json

import pytest

from dicache_core import (
    DEFAULT_PRESET,
    LARGEST_FILE,
    RECALLED,
    CacheConfig,
    Choice,
    Recall,
    Remembered,
    Situation,
    TunedSettings,
    asks_memory,
    chosen_policy,
    resolve,
    settings_of,
)
from dicache_core.tuned import MOST_CHOICES

PLAIN, NOISY = "adds no noise", "adds noise"


def choice(steps: int = 30, sampler: str = PLAIN, patched: bool = False, **changes) -> Choice:
    numbers = dict(wish="close", policy="foreseen", target="2x", speed=1.9, psnr=31.0, ssim=0.95) | changes
    return Choice(Situation(sampler, steps, patched), **numbers)


def remembered(*choices: Choice) -> Remembered:
    return Remembered("flux", "0123456789abcdef", choices)


@pytest.mark.parametrize(("steps", "served"), [(22, False), (23, True), (30, True), (40, True), (41, False)])
def test_a_choice_serves_up_to_a_third_more_steps_and_as_many_fewer(steps, served):
    found, recall = remembered(choice(30)).recall(Situation(PLAIN, steps))
    assert (found is not None) == served
    assert recall == (Recall("fits", "close", steps) if served else Recall("steps", "", steps))
    assert Situation(PLAIN, 30).range == (23, 40)


def test_the_nearest_number_of_steps_and_of_those_the_latest():
    known = remembered(choice(30), choice(24, wish="very close"), choice(30, patched=True))
    assert known.find(Situation(PLAIN, 28)) == choice(30, patched=True)
    assert known.find(Situation(PLAIN, 25)) == choice(24, wish="very close")


def test_another_kind_of_sampler_has_another_choice():
    known = remembered(choice(30))
    assert known.recall(Situation(NOISY, 30)) == (None, Recall("sampler", "", 30))
    assert known.with_choice(choice(30, NOISY)).find(Situation(NOISY, 30)) == choice(30, NOISY)


def test_a_lora_does_not_lose_it_but_is_said():
    found, recall = remembered(choice()).recall(Situation(PLAIN, 30, patched=True))
    assert found == choice()
    assert recall.found == "patched"
    assert remembered(choice(patched=True)).recall(Situation(PLAIN, 30, patched=True))[1].found == "fits"


def test_tuning_again_replaces():
    known = remembered(choice(30), choice(10)).with_choice(choice(30, target="3x"))
    assert known.choices == (choice(10), choice(30, target="3x"))


def test_every_word_says_what_to_run_and_which_preset_took_its_place():
    assert all(
        DEFAULT_PRESET in RECALLED[found] and "run DiCache Tune" in RECALLED[found] for found in ("sampler", "steps")
    )
    assert set(RECALLED) == {"fits", "patched", "sampler", "steps"}


# -- the file ------------------------------------------------------------------------------------------------------


def test_there_and_back():
    known = remembered(choice(), choice(12, NOISY, True, policy="dicache", target=""))
    assert Remembered.from_json(known.to_json()) == known


def test_the_largest_file_can_be_read():
    long = [choice(steps + 1, sampler="s" * 100, wish="w" * 100, psnr=31.123456789012345) for steps in range(200)]
    known = remembered()
    for one in long:
        known = known.with_choice(one)
    assert known.choices == tuple(long[-MOST_CHOICES:])
    assert len(known.to_json()) <= LARGEST_FILE
    assert Remembered.from_json(known.to_json()) == known


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
        changed(version=2),
        changed(version="1"),
        changed(architecture=7),
        changed(fingerprint=None),
        changed(choices={}),
        changed(choices=[[]]),
        changed(choices=[{}]),
        changed(choices__n0__policy="no such policy"),
        changed(choices__n0__policy="step_mask"),
        changed(choices__n0__policy="magcache"),
        changed(choices__n0__policy=["foreseen"]),
        changed(choices__n0__target="0.5x"),
        changed(choices__n0__target="2" * 400 + "x"),
        changed(choices__n0__speed="2"),
        changed(choices__n0__speed=True),
        changed(choices__n0__speed=float("nan")),
        changed(choices__n0__psnr=float("inf")),
        changed(choices__n0__ssim=-1),
        changed(choices__n0__psnr=10**400),
        changed(choices__n0__wish=""),
        changed(choices__n0__situation=None),
        changed(choices__n0__situation__steps=0),
        changed(choices__n0__situation__steps=30.5),
        changed(choices__n0__situation__patched=1),
        changed(choices__n0__situation__sampler="x" * 1000),
        " " * LARGEST_FILE + remembered(choice()).to_json(),
    ],
    ids=lambda text: repr(text[-40:]),
)
def test_everything_else_is_refused_with_what_to_do(text):
    with pytest.raises(ValueError, match="delete the file, or run DiCache Tune again"):
        Remembered.from_json(text)


def test_what_a_later_version_adds_to_a_choice_does_not_matter():
    assert Remembered.from_json(changed(choices__n0__note="more", more=1)) == remembered(choice())


# -- the preset ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["flux", "unet", "qwen_image", "no such model"])
def test_the_preset_is_the_policy_that_is_handed_in(architecture):
    policy = chosen_policy("foreseen", target="2.5x")
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
    assert not asks_memory("tuned", **given)
    assert resolve("flux", "tuned", **given) == resolve("flux", DEFAULT_PRESET, **given)
    assert asks_memory("tuned", warmup_steps=3)
    assert not asks_memory(DEFAULT_PRESET)


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
    assert settings.for_run(Situation(PLAIN, 30)) == (one, Recall("fits", "close", 30))
    assert settings.for_run(Situation(PLAIN, 12)) == (fallback, Recall("steps", "", 12))
