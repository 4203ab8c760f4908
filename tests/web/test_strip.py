"""The strip alone, in a bare page: what it says and draws for an event."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route

from dicache_core import COMPILER
from dicache_core.quality import CLOSENESS, VISIBLE
from dicache_core.reasons import NoSkip
from dicache_core.tuning.context import TUNED_MATCH_TEXTS
from dicache_core.tuning.plan_finder import NoSearch

pytestmark = pytest.mark.browser

WEB = Path(__file__).resolve().parents[2] / "web"
PAGE = '<!doctype html><meta charset="utf-8"><body style="width: 300px"></body>'


EFFECTIVE = {"threshold": 0.4, "interval": None, "target": None, "probe_depth": 1, "warmup_steps": 6}


def event(cells: str, **changes: object) -> dict:
    """What the strip reads of a run's JSON that has come as far as ``cells`` say; ``changes`` to it and to what is in
    force."""
    done = len(cells.replace("-", ""))
    return {
        "steps": len(cells),
        "steps_before": 0,
        "steps_after": 0,
        "cells": cells,
        "effective": {name: changes.pop(name, value) for name, value in EFFECTIVE.items()},
        "accumulated_errors": [0.2 if cell in "crm" else None for cell in cells],
        "reused": cells.count("r"),
        "speedup": 1.4159,
        "policy": "dicache",
        "tuned": None,
        "compiler": None,
        "closeness": None,
        "vetoed": 0,
        "nothing": None,
        "finished": done == len(cells),
    } | changes


@dataclass
class Strip:
    """A strip in a page without ComfyUI."""

    page: Page
    errors: list[str] = field(default_factory=list)

    def open(self, language: str = "en") -> None:
        self.page.evaluate(
            """async (language) => {
                const { Strip } = await import("./strip.js");
                window.strip = new Strip(language);
                document.body.replaceChildren(strip.element);
            }""",
            language,
        )

    def show(self, **event: object) -> None:
        self.page.evaluate("(event) => strip.show(event)", event)

    def text(self, selector: str) -> str:
        return self.page.locator(f".dicache-strip {selector}").inner_text()

    @property
    def label(self) -> str:
        return self.page.locator(".dicache-strip").get_attribute("aria-label")

    @property
    def states(self) -> str:
        columns = self.page.locator(".dicache-strip .column")
        return "".join(columns.evaluate_all("(columns) => columns.map((c) => c.dataset.state)"))

    def height(self, selector: str, index: int) -> float:
        return self.page.locator(f".dicache-strip {selector}").nth(index).bounding_box()["height"]


def _serve(route: Route) -> None:
    name = route.request.url.removeprefix("http://strip.test/")
    if name:
        kind = "application/json" if name.endswith(".json") else "text/javascript"
        route.fulfill(path=WEB / name, content_type=kind)
    else:
        route.fulfill(body=PAGE, content_type="text/html")


@pytest.fixture(scope="module")
def one_page(browser):
    strip = Strip(browser.new_page())
    strip.page.on("pageerror", lambda error: strip.errors.append(str(error)))
    strip.page.route("http://strip.test/**", _serve)
    strip.page.goto("http://strip.test/")
    yield strip
    strip.page.close()


@pytest.fixture
def strip(one_page):
    """A new strip in English, in a page that all tests share."""
    one_page.page.evaluate("document.body.style.cssText = 'width: 300px'")
    one_page.open()
    yield one_page
    assert not one_page.errors


def test_it_imports_nothing_of_the_frontend():
    for name in ("strip.js", "report.js", "said.js", "plot.js", "summary.js"):
        imports = re.findall(r'from "(.*?)"', (WEB / name).read_text(encoding="utf-8"))
        assert set(imports) <= {"./plot.js", "./summary.js", "./words.js"}, name


def test_before_the_first_run_it_is_quiet(strip):
    assert strip.text(".text").strip() == "No run yet: the steps will show here"
    assert set(strip.states) == {"-"}


def test_a_running_run(strip):
    strip.show(**event("wwwwwwrrrcrr------------------"))
    assert strip.label == "DiCache · step 12/30 · 5 steps skipped · 1.42×"
    assert strip.states == "wwwwwwrrrcrr------------------"
    assert strip.text(".speedup") == "1.42×"


def test_a_finished_run(strip):
    strip.show(**event("wwwrrrcrrl"))
    assert strip.label == "DiCache · 5 of 10 steps skipped · 1.42×"


@pytest.mark.parametrize(
    ("closeness", "said"),
    [
        ("very close", "estimate: very close"),
        ("close", "estimate: close"),
        ("visible", "estimate: may differ visibly"),
        ("newer", ""),
    ],
)
def test_a_finished_run_says_how_close_its_picture_is(strip, closeness, said):
    strip.show(**event("wwwrrrcrrl", closeness=closeness))
    assert strip.label == " · ".join(filter(None, ["DiCache", "5 of 10 steps skipped", "1.42×", said]))
    assert strip.text(".settings").startswith(f"{said} · paper's method" if said else "paper's method")
    text, speedup = (strip.page.locator(f".dicache-strip {part}").bounding_box() for part in (".text", ".speedup"))
    shown = strip.page.locator(".dicache-strip .text > :first-child")
    assert shown.evaluate("(e) => e.scrollWidth <= e.clientWidth"), "it does not fit beside the speed-up"
    assert speedup["x"] + speedup["width"] <= text["x"] + text["width"] + 1


def test_every_word_of_the_core_is_said():
    assert list(texts("en")["closeness"]) == [*CLOSENESS, VISIBLE]


@pytest.mark.parametrize(
    ("vetoed", "said"),
    [
        (0, ""),
        (1, "1 planned skip cancelled (prediction too far off)"),
        (3, "3 planned skips cancelled (prediction too far off)"),
    ],
)
def test_it_says_what_the_model_vetoed(strip, vetoed, said):
    before = strip.page.locator(".dicache-strip").bounding_box()["height"]
    strip.show(**event("wwrccrccrl", vetoed=vetoed))
    assert strip.text(".note") == said
    assert "skipped" in strip.text(".legend")
    assert strip.page.locator(".dicache-strip").bounding_box()["height"] == before, "a node must not jump"


def test_a_run_that_was_vetoed_whole_says_so_once(strip):
    strip.show(**event("wccccl", vetoed=3, nothing={"reason": "forecasts off", "smallest": None}))
    told = "all planned skips cancelled (prediction too far off)"
    assert strip.text(".legend") == told
    assert strip.text(".note") == ""
    assert strip.label == f"DiCache · 0 of 6 steps skipped · 1.42× · {told}"


def test_an_interrupted_run(strip):
    strip.show(**event("wwwrrr----", finished=True))
    assert strip.label == "DiCache · stopped at 6/10 · 3 steps skipped · 1.42×"


@pytest.mark.parametrize(
    ("changes", "settings"),
    [
        ({"threshold": 0.30000000000000004}, "paper's method · threshold 0.3 · probe 1 · warm-up 6"),
        (
            {"policy": "forecast", "threshold": None, "target": "2x", "probe_depth": None, "warmup_steps": 2},
            "forecast method · ≤2× · warm-up 2",  # no block runs on every step: no probe
        ),
        ({"threshold": None, "target": "12"}, "paper's method · 12 steps · probe 1 · warm-up 6"),
        (
            {"policy": "taylorseer_1", "threshold": None, "interval": 3, "probe_depth": None},
            "taylorseer 1 · every 3rd step · warm-up 6",
        ),
        (
            {"policy": "fastercache", "threshold": None, "interval": 2, "probe_depth": None},
            "fastercache · every 2nd step · warm-up 6",
        ),
        ({"threshold": None, "target": "1"}, "paper's method · 1 step · probe 1 · warm-up 6"),
        ({"policy": None, "threshold": 0}, "threshold 0 · probe 1 · warm-up 6"),
    ],
)
def test_it_shows_the_method_and_the_numbers_that_were_in_force(strip, changes, settings):
    strip.show(**event("wcrrl", **changes))
    assert strip.text(".settings") == settings


def test_a_second_run_leaves_nothing_of_the_first(strip):
    strip.show(**event("wwwrrrcrrl"))
    strip.show(**event("ww--", speedup=None))
    assert strip.states == "ww--"
    assert strip.label == "DiCache · step 2/4 · 0 steps skipped"


def test_the_same_event_twice_changes_nothing(strip):
    once = event("wwrrc---")
    strip.show(**once)
    first = strip.page.evaluate("strip.element.shadowRoot.innerHTML")
    strip.show(**once)
    assert strip.page.evaluate("strip.element.shadowRoot.innerHTML") == first


def test_idle_forgets_a_run(strip):
    blank = strip.page.evaluate("strip.element.shadowRoot.innerHTML")
    strip.show(**event("wwrrc---"))
    strip.page.evaluate("strip.idle()")
    assert strip.page.evaluate("strip.element.shadowRoot.innerHTML") == blank


@pytest.mark.parametrize(
    ("nothing", "changes", "why"),
    [
        ({"reason": "error", "smallest": 0.5}, {}, "smallest error 0.5 is above threshold 0.4"),
        ({"reason": "threshold 0"}, {"threshold": 0}, "threshold 0 never skips a step"),
        ({"reason": "closed"}, {}, "no step could be skipped: warm-up, or outside start_percent and end_percent"),
        ({"reason": "few steps"}, {"threshold": None, "target": "3x"}, "6 steps are too few to skip any"),
        ({"reason": "few steps"}, {"steps_before": 2}, "8 steps are too few to skip any"),
        ({"reason": "first part", "until": 0.25}, {}, "this sampler adds noise: only steps after 25% can be skipped"),
        ({"reason": "few open", "open_steps": 1}, {}, "only 1 of 6 steps can be skipped: not enough"),
        ({"reason": "mask"}, {}, "the mask computes every step that could be skipped"),
        ({"reason": "target"}, {"threshold": None, "target": "1x"}, "target 1x computes all 6 steps"),
        ({"reason": "interval"}, {"threshold": None, "interval": 1}, "interval 1 computes every step"),
        ({"reason": "memory"}, {}, "no memory left for the cache: all steps computed"),
        ({"reason": "other cache", "other": "EasyCache"}, {}, "remove EasyCache: two step caches ruin the image"),
        ({"reason": "no history"}, {}, "no step to predict from: nothing skipped"),
        ({"reason": "one step"}, {}, "one step per run: nothing to skip"),
        ({"reason": "another image"}, {}, "the image moves between steps: computed"),
        ({"reason": "rising noise"}, {}, "noise rises (unsampling): all steps computed"),
        ({"reason": "unknown sampler"}, {}, "unknown sampler: all planned skips cancelled (prediction too far off)"),
        ({"reason": "own steps"}, {}, "this sampler takes its own steps: all computed"),
    ],
)
def test_it_says_why_nothing_was_skipped(strip, nothing, changes, why):
    strip.show(**event("wwcccl", nothing={"smallest": None, **nothing}, **changes))
    assert strip.text(".legend") == why
    assert strip.label.endswith(f" · {why}"), "whoever cannot see the strip is told as well"


@pytest.mark.parametrize("nothing", [None, {"reason": "a reason of a newer version", "smallest": None}])
def test_it_does_not_guess_why(strip, nothing):
    strip.show(**event("wwcccl", nothing=nothing))
    assert "skipped" in strip.text(".legend")


def test_while_it_runs_it_does_not_complain(strip):
    strip.show(**event("wwccc---"))
    assert "smallest" not in strip.text(".legend")
    assert "skipped" in strip.text(".legend")


def test_a_sampler_of_two_evaluations_a_step_is_told_by_evaluations(strip):
    strip.show(**event("wrcrc----", steps=5))
    assert strip.label == "DiCache · evaluation 5/9 · 2 skipped · 1.42×"
    strip.show(**event("wrcrcrcrl", steps=5))
    assert strip.label == "DiCache · 4 of 9 evaluations skipped · 1.42×"
    titles = strip.page.locator(".column").evaluate_all("(columns) => columns.map((c) => c.title)")
    assert titles[1].startswith("Model evaluation 2: skipped")
    strip.show(**event("wrc------", steps=5, finished=True))
    assert strip.label == "DiCache · stopped at evaluation 3/9 · 1 skipped · 1.42×"


@pytest.mark.parametrize("accumulated", [0.2, None], ids=["measured", "no error"])
def test_a_report_draws_no_panel_of_errors_where_a_method_measures_none(strip, accumulated):
    steps = [{"step": n, "accumulated": accumulated, "reuse": n == 2, "reason": "error"} for n in range(4)]
    sample = {"role": "positive", "number": 1, "row": 0, "steps": steps}
    run = {
        "samples": [sample],
        "cells": "wcrl",
        "steps": 4,
        "seconds_per_step": [0.1] * 4,
        "effective": {"threshold": None},
    }
    strip.page.evaluate(
        """async (run) => {
            const { Report } = await import("./report.js");
            const report = new Report();
            document.body.replaceChildren(report.element);
            report.show({ text: ["Flux, 4 steps"], dicache: [run] });
        }""",
        run,
    )
    titles = strip.page.locator(".dicache-report .title").all_inner_texts()
    assert titles == ["accumulated error"] * (accumulated is not None) + ["seconds"]
    assert strip.page.locator(".dicache-report .plot").count() == len(titles)


def test_one_skipped_step_is_one(strip):
    strip.show(**event("wwr---"))
    assert strip.label == "DiCache · step 3/6 · 1 step skipped · 1.42×"


def test_a_step_that_was_skipped_in_part_is_filled_from_below_by_what_ran(strip):
    for language, words in {"en": "blocks of 2.6 of 4 steps ran", "ja": "4 ステップ中 2.6 ステップ分"}.items():
        strip.open(language)
        strip.show(**event("wppl", shares=[1.0, 0.4, 0.2, 1.0], reused=0))
        assert words in strip.label
    strip.open()
    strip.show(**event("wppl", shares=[1.0, 0.4, 0.2, 1.0], reused=0))
    assert strip.states == "wppl"
    columns = strip.page.locator(".dicache-strip .column")
    filled = columns.evaluate_all("(all) => all.map((c) => c.style.getPropertyValue('--ran'))")
    assert filled == ["", "40%", "20%", ""]
    backgrounds = columns.locator(".cell").evaluate_all("(all) => all.map((c) => getComputedStyle(c).backgroundImage)")
    assert "40%" in backgrounds[1]
    assert "20%" in backgrounds[2]
    assert "partly skipped" in strip.text(".legend")
    assert columns.nth(1).get_attribute("title") == "Step 2: partly skipped 40%"
    strip.show(**event("wppp--", shares=[1.0, 0.4, 0.2, 0.4], reused=0))
    assert "blocks of 2.0 steps ran" in strip.label


def test_mixed_steps_are_explained_where_there_are_some(strip):
    strip.show(**event("wwrc--"))
    assert "mixed" not in strip.text(".legend")
    strip.show(**event("wwrm--"))
    assert "mixed" in strip.text(".legend")


def test_bars_are_proportional_and_end_at_the_top(strip):
    strip.show(**event("wcccc", accumulated_errors=[None, 0.1, 0.2, 0.4, 50.0]))
    room = strip.height(".room", 0)
    bars = [strip.height(".bar", index) for index in range(5)]
    assert bars[0] == 0
    assert bars[2] == pytest.approx(2 * bars[1], rel=0.02)
    assert bars[3] == pytest.approx(0.68 * room, rel=0.02)
    assert bars[4] == pytest.approx(room, rel=0.02)
    line = strip.page.locator(".line-at").bounding_box()["y"]
    top_of_bar = strip.page.locator(".bar").nth(3).bounding_box()["y"]
    assert line == pytest.approx(top_of_bar, abs=1.5), "an error at the threshold reaches the line"


def test_a_rule_without_a_threshold_has_no_line(strip):
    strip.show(**event("wcrrl", threshold=None))
    assert not strip.page.locator(".line-at").is_visible()
    strip.show(**event("wcccl", threshold=None, speedup=None))
    assert strip.label == "DiCache · 0 of 5 steps skipped"


def test_pointing_at_a_step_tells_its_numbers(strip):
    strip.show(**event("wwrr--", accumulated_errors=[None, None, 0.1234567, 0.25, None, None]))
    titles = strip.page.locator(".column").evaluate_all("(columns) => columns.map((c) => c.title)")
    assert titles[0] == "Step 1: warm-up"
    assert titles[2] == "Step 3: skipped · accumulated error 0.123"
    assert titles[5] == "Step 6: not yet"


def test_an_unknown_state_is_shown_as_not_yet(strip):
    strip.show(**event("ww?r"))
    assert strip.states == "ww-r"


@pytest.mark.parametrize("steps", [1, 4, 50, 1000])
def test_any_number_of_steps_fits(strip, steps):
    strip.show(**event("r" * steps))
    box = strip.page.locator(".dicache-strip").bounding_box()
    last = strip.page.locator(".column").last.bounding_box()
    assert last["x"] + last["width"] <= box["x"] + box["width"]
    assert box["height"] == strip.page.evaluate("import('./strip.js').then((module) => module.STRIP_HEIGHT)")


@pytest.mark.parametrize(
    ("language", "label"),
    [
        ("zh", "DiCache · 5 步中跳过 2 步 · 1.42×"),
        ("zh-TW", "DiCache · 5 步中跳過 2 步 · 1.42×"),
        ("ja", "DiCache · 5 ステップ中 2 をスキップ · 1.42×"),
        ("fr", "DiCache · 2 of 5 steps skipped · 1.42×"),
    ],
)
def test_it_speaks_the_frontends_language(strip, language, label):
    strip.open(language)
    strip.show(**event("wcrrl"))
    assert strip.label == label


@pytest.mark.parametrize(
    ("language", "label"),
    [
        ("en", "DiCache · Overridden by DiCache Apply #12"),
        ("zh", "DiCache · 已被 DiCache Apply #12 取代"),
        ("zh-TW", "DiCache · 已被 DiCache Apply #12 取代"),
        ("ja", "DiCache · DiCache Apply #12 が優先されました"),
    ],
)
def test_it_says_that_another_node_overrides_it(strip, language, label):
    strip.open(language)
    strip.show(**event("wcrrl"))
    height = strip.page.locator(".dicache-strip").bounding_box()["height"]
    strip.page.evaluate("strip.overridden('DiCache Apply #12')")
    what_to_do = texts(language)["removeOne"]
    assert strip.label == f"{label} · {what_to_do}"
    assert set(strip.states) == {"-"}
    assert strip.page.locator(".dicache-strip .legend").inner_text() == what_to_do
    for part in (".legend", ".text > :first-child"):
        shown = strip.page.locator(f".dicache-strip {part}")
        assert shown.evaluate("(e) => e.scrollWidth <= e.clientWidth"), f"{part} does not fit"
    assert strip.page.locator(".dicache-strip").bounding_box()["height"] == height
    strip.page.evaluate("strip.overridden(null)")
    assert texts(language)["laterNode"] in strip.label
    strip.show(**event("wcrrl"))
    assert "steps skipped" in strip.label or language != "en"


def texts(language: str) -> dict:
    return json.loads((WEB / "strings" / f"{language}.json").read_text(encoding="utf-8"))


def shape_of(content: object) -> object:
    """The keys of a language's texts, and of each text the values that it takes; English leaves results to the server
    and goals to the menu."""
    if isinstance(content, dict) and not {"plural", "ordinal"} & set(content):
        return {key: shape_of(value) for key, value in content.items() if key not in ("result", "goals", "language")}
    text = content["other"] if isinstance(content, dict) else content
    return sorted(re.findall(r"\{(\w+)\}", text))


@pytest.mark.parametrize("language", ["zh", "zh-TW", "ja"])
def test_every_language_has_every_text_with_the_same_values(language):
    assert shape_of(texts(language)) == shape_of(texts("en"))
    assert shape_of(texts(language)["result"]) == shape_of(texts("zh")["result"])
    assert texts(language)["language"] == language
    assert texts(language)["states"] != texts("en")["states"]


@pytest.mark.parametrize("language", ["en", "zh", "zh-TW", "ja"])
def test_what_became_of_the_preset_tuned_comes_first(strip, language):
    strip.open(language)
    for found in TUNED_MATCH_TEXTS:
        strip.show(**event("wcrl", tuned={"found": found, "goal": "similar", "steps": 12}))
        said = strip.page.locator(".settings").inner_text()
        words = texts(language)["tuned"][found]
        words = words["other"] if isinstance(words, dict) else words
        goal = texts(language)["goals"].get("similar", "similar")
        assert said.startswith(words.format(goal=goal, steps=12)), found
    strip.show(**event("wcrl", tuned=None))
    assert strip.page.locator(".settings").inner_text().startswith(("paper", "论文", "論文"))


@pytest.mark.parametrize("language", ["en", "zh", "zh-TW", "ja"])
def test_what_became_of_the_hosts_compiler_comes_last(strip, language):
    strip.open(language)
    words = texts(language)["compiler"]
    assert set(words) == set(COMPILER)
    for state, said in words.items():
        strip.show(**event("wcrl", compiler=state))
        assert strip.page.locator(".settings").inner_text().endswith(said)
    strip.show(**event("wcrl", compiler=None))
    assert "Compiler" not in strip.page.locator(".settings").inner_text()


@pytest.mark.parametrize("language", ["en", "zh", "zh-TW", "ja"])
def test_every_reason_of_the_core_has_words(language):
    assert set(texts(language)["nothing"]) == {reason.value for reason in NoSkip}


TUNED = {  # what the page reads of DiCache Tune's report
    "goal": "similar", "granted": True, "chosen": "2x", "full_runs": 5.5, "not_saved": None,
}  # fmt: skip
PLAN = {"shares": [0.0, 1.0], "calls": 30}


def told_of_tuning(page: Page, language: str, no_search: str | None, plan: dict | None) -> list[str]:
    """The lines on the node."""
    images = [{"psnr": 40.0, "ssim": 0.99}]
    chosen = {"chosen": True, "speed": 2, "computed": 15, "calls": 30, "plan": plan, "pictures": images}
    report = {**TUNED, "trials": [{"chosen": False}, chosen], "plan_search": {"not_searched": no_search}}
    told = """async ([report, language]) => {
        const { toldResult } = await import("./summary.js");
        return toldResult([report], (await import("./words.js")).wordsFor(language));
    }"""
    return page.evaluate(told, [report, language]).splitlines()


@pytest.mark.parametrize("language", ["zh", "zh-TW", "ja"])  # in English the server's own text is shown
def test_of_plans_it_is_told_why_none_is_chosen(strip, language):
    result = texts(language)["result"]
    assert set(result["noSearch"]) == {reason.value for reason in NoSearch}
    chosen, cost, saved = told_of_tuning(strip.page, language, None, PLAN)
    assert told_of_tuning(strip.page, language, None, None) == [chosen, cost, result["noBetterPlan"], saved]
    for reason in NoSearch:
        why = result["noSearch"][reason.value]
        assert told_of_tuning(strip.page, language, reason.value, None) == [chosen, cost, why, saved]


WIDTH = 270 - 2 * 6  # pixels: a new DiCache Apply is that wide, and the front end leaves a margin around an element
# What does not fit where it stands: wider than its place, or taller than the strip.
CUT_OFF = """() => {
    const { shadowRoot } = strip.element;
    const parts = shadowRoot.querySelectorAll(".strip, .text > *, .settings, .legend, .legend > *, .note");
    return [...parts]
        .filter((part) => part.scrollWidth > part.clientWidth + 1 || part.scrollHeight > part.clientHeight + 1)
        .filter((part) => getComputedStyle(part).display !== "inline")
        .map((part) => `${part.className}: ${part.textContent}`);
}"""


def said_on_it() -> dict[str, dict]:
    """By name, what a strip may have to say, the longest of each kind."""
    forecast = {"policy": "forecast", "threshold": None, "target": "1.5x", "probe_depth": None, "warmup_steps": 1}
    long = "cr" * 15
    events = {
        "running": event("wcrcr" + "-" * 25, **forecast),
        "evaluations": event("w" + "cr" * 29, steps=30, closeness="visible", **forecast),
        "stopped": event("wrc------", steps=5, finished=True, **forecast),
        "long name": event(long, **forecast | {"policy": "trajectory_error_output", "target": "1.75x", "vetoed": 3}),
        "mixed": event("wcrm" * 8, vetoed=12, closeness="very close", **forecast),
        "compiler": event(long, compiler="forecast", closeness="visible", **forecast),
    }
    for found in TUNED_MATCH_TEXTS:
        tuned = {"found": found, "goal": "looks the same", "steps": 30}
        events[f"tuned {found}"] = event(long, tuned=tuned, closeness="visible", **forecast)
    for reason in NoSkip:
        other = {"other": "First Block Cache (WaveSpeed)"} if reason is NoSkip.OTHER_CACHE else {}
        nothing = {"reason": reason.value, "smallest": 0.0123, "until": 0.25, "open_steps": 12, **other}
        events[f"nothing: {reason}"] = event("c" * 30, nothing=nothing, speedup=None)
    return events


@pytest.mark.parametrize("language", ["en", "zh", "zh-TW", "ja"])
def test_no_line_is_cut_at_the_width_of_a_new_node(strip, language):
    strip.page.evaluate("(width) => { document.body.style.cssText = `width: ${width}px; margin: 0`; }", WIDTH)
    strip.open(language)
    height = strip.page.evaluate("import('./strip.js').then((module) => module.STRIP_HEIGHT)")
    cut = {}
    for name, shown in said_on_it().items():
        strip.show(**shown)
        cut[name] = strip.page.evaluate(CUT_OFF)
        assert strip.page.locator(".dicache-strip").bounding_box()["height"] == height, "a node must not jump"
    strip.page.evaluate("strip.overridden('DiCache Apply for the second pass #12:345')")
    cut["overridden"] = strip.page.evaluate(CUT_OFF)
    strip.page.evaluate("strip.idle()")
    cut["idle"] = strip.page.evaluate(CUT_OFF)
    assert {name: parts for name, parts in cut.items() if parts} == {}


@pytest.mark.parametrize("language", ["en", "zh", "zh-TW", "ja"])
def test_a_finished_run_is_told_in_two_lines(strip, language):
    """At the width of a new node, under the default preset; and what the bars are is said below them."""
    strip.page.evaluate("(width) => { document.body.style.cssText = `width: ${width}px; margin: 0`; }", WIDTH)
    strip.open(language)
    default = {"policy": "forecast", "threshold": None, "target": "2x", "probe_depth": None, "warmup_steps": 1}
    strip.show(**event("w" + "cr" * 14 + "l", closeness="very close", **default))
    assert strip.height(".text", 0) < 20
    assert strip.height(".settings", 0) < 2 * 13
    bars = strip.page.locator(".of-bars")
    assert bars.inner_text() == strip.page.evaluate("strip.words.bar")
    assert bars.get_attribute("title") == strip.page.evaluate("strip.words.barHeight")
    strip.show(**event("crcr", accumulated_errors=[None] * 4, **default))
    assert bars.count() == 0, "there are no bars"


def test_by_keyboard_each_column_says_what_its_tooltip_says(strip):
    strip.show(**event("wwwrrrcrrl"))
    keyboard = strip.page.keyboard
    keyboard.press("Tab")
    told = strip.page.locator(".dicache-strip .chosen")
    assert told.inner_text() == ""
    titles = strip.page.locator(".dicache-strip .column").evaluate_all("(columns) => columns.map((c) => c.title)")
    for key, step in (("ArrowRight", 0), ("ArrowRight", 1), ("End", 9), ("ArrowRight", 9), ("Home", 0)):
        keyboard.press(key)
        assert told.inner_text() == titles[step]
        assert strip.page.locator(".dicache-strip .column[data-chosen]").count() == 1
    strip.show(**event("wwwrrrcrrl"))  # drawn anew under the fingers
    assert told.inner_text() == titles[0]
    strip.page.evaluate("document.activeElement.blur()")
    assert told.text_content() == ""
