"""Translations and help pages are complete: nothing a node says is missing in a language."""

import json
import re
from collections.abc import Iterator

import pytest
from make_locales import DOCS, LOCALES, node_definitions, read

LANGUAGES = ("en", "zh", "ja")


@pytest.fixture(scope="module")
def object_info(server) -> dict:
    return json.loads(server.get("/object_info"))


@pytest.fixture(scope="module")
def nodes(object_info) -> dict:
    return node_definitions(object_info)


@pytest.fixture(scope="module")
def options(object_info) -> dict:
    """node -> widget -> what its menu offers, in order."""
    return {
        node: {
            widget: spec[1]["options"] if spec[0] == "COMBO" else spec[0]
            for group in object_info[node]["input"].values()
            for widget, spec in group.items()
            if spec[0] == "COMBO" or isinstance(spec[0], list)
        }
        for node in ("DiCacheApply", "DiCachePolicy")
    }


def test_english_is_what_the_nodes_say(nodes):
    assert read("en") == nodes, "run make pages"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_node_and_input_is_translated(nodes, language):
    translated = read(language)
    assert set(translated) == set(nodes)
    for name, node in nodes.items():
        assert translated[name]["display_name"]
        assert translated[name]["description"]
        for part in ("inputs", "outputs"):
            assert set(translated[name][part]) == set(node[part]), f"{part} of {name}"
            for key, texts in translated[name][part].items():
                assert texts["name"], f"{name}.{key}"
                assert bool(texts["tooltip"]) == bool(node[part][key]["tooltip"]), f"{name}.{key}"


@pytest.mark.parametrize("language", ["zh", "ja"])
def test_numbers_and_names_survive_translation(nodes, language):
    """Published values and option names are the same in every language."""
    translated = read(language)
    for word in ("0.4", "0.1", "0.08", "-1"):
        assert word in translated["DiCacheApply"]["inputs"]["threshold"]["tooltip"]
    for preset in ("published", "fidelity", "balanced", "fast"):
        assert preset in translated["DiCacheApply"]["inputs"]["preset"]["tooltip"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_host_serves_the_translations(server, language):
    served = json.loads(server.get("/i18n"))[language]
    assert served["nodeDefs"].items() >= read(language).items()
    main = json.loads((LOCALES / language / "main.json").read_text(encoding="utf-8"))
    assert served["nodeCategories"].items() >= main["nodeCategories"].items()


def first_cells(page: str) -> str:
    """The first cell of every row of a help page's tables."""
    return "\n".join(line.split("|")[1] for line in page.splitlines() if line.startswith("|"))


def help_page(node: str, language: str) -> str:
    return (DOCS / node / f"{language}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_setting_is_named(server, language):
    assert json.loads(server.get("/i18n"))[language]["settings"]["DiCache_ShowStrip"]["name"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_help_page_is_served_and_begins_with_the_nodes_name(server, nodes, language):
    for node in nodes:
        page = server.get(f"/extensions/ComfyUI-DiCache/docs/{node}/{language}.md").decode()
        assert page == help_page(node, language)
        assert page.startswith(f"# {read(language)[node]['display_name']}\n")


@pytest.mark.parametrize("language", LANGUAGES)
def test_help_pages_explain_every_widget_and_output_and_no_other(nodes, language):
    names = read(language)
    for node in nodes:
        explained = re.findall(r"\*\*(.+?)\*\*", first_cells(help_page(node, language)))
        parts = [names[node][part] for part in ("inputs", "outputs")]
        assert sorted(explained) == sorted(texts["name"] for part in parts for texts in part.values()), node


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("node", "widget"), [("DiCacheApply", "preset"), ("DiCachePolicy", "policy")])
def test_help_pages_explain_every_preset_and_policy_and_no_other(options, language, node, widget):
    explained = re.findall(r"(?<!\*)\*([a-z_0-9]+)\*(?!\*)", first_cells(help_page(node, language)))
    assert (
        explained == options[node][widget] if widget == "preset" else sorted(explained) == sorted(options[node][widget])
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_name_in_a_help_page_exists(nodes, options, language):
    """What stands in italics is a node, a preset, a policy, a node of ComfyUI's, or words of the strip."""
    known = {texts["display_name"] for texts in read(language).values()}
    known |= {*options["DiCacheApply"]["preset"], *options["DiCachePolicy"]["policy"], *HOST_NODES[language]}
    strip = strings_of(language)
    for node in nodes:
        for name in re.findall(r"(?<!\*)\*([^*\n]+)\*(?!\*)", help_page(node, language)):
            parts = [part.strip() for part in name.split(",")]  # of an example of settings
            assert name in known or name in strip or all(p in known or re.match(r"[\d.]+x?$", p) for p in parts), name


HOST_NODES = {
    "en": {"Save Image", "Preview Image"},
    "zh": {"保存图像", "预览图像"},
    "ja": {"画像を保存", "画像プレビュー"},
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_presets_and_policies_in_tooltips_exist(nodes, options, language):
    texts = read(language)
    for preset in options["DiCacheApply"]["preset"]:
        for node, widget in (("DiCacheApply", "preset"), ("DiCacheCompare", "settings")):
            assert preset in texts[node]["inputs"][widget]["tooltip"]
    interval = texts["DiCachePolicy"]["inputs"]["interval"]["tooltip"]
    for name in re.findall(
        r"[a-z]+_?[a-z]+", interval.split("(", 1)[-1].split("（", 1)[-1].split(")")[0].split("）")[0]
    ):
        assert any(policy.startswith(name) for policy in options["DiCachePolicy"]["policy"]), name


# Words that users no longer read: one word for one thing, nothing internal, and what once was wrong.
RETIRED = {
    "en": (
        r"reused?", r"probed and", r"manieth", r"delta_y", r"is left out", r"left\s+out\s+of", r"README",
        r"queue it twice", r"the table", r"seconds saved", r"first block only", r"only its first block",
        r"0 uses the preset", r"0: the preset", r"typed into the fields still win", r"video memory",
    ),
    "zh": (r"复用", r"省去", r"README", r"运行两次", r"DiCache 应用", r"每隔多少步"),
    "ja": (r"再利用", r"省略", r"較正", r"README", r"2 回実行し", r"DiCache 適用", r"ビデオメモリ"),
}  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
def test_one_word_for_one_thing(nodes, language):
    pages = [help_page(node, language) for node in nodes]
    texts = json.dumps(read(language), ensure_ascii=False)
    for text in (*pages, texts, *words_of_the_strip(language)):
        plain = re.sub(r'"reused"|DiCache Calibrate\*? saved', "", text)  # a key of the JSON; what is done to a curve
        for word in RETIRED[language]:
            assert not re.search(rf"\b{word}\b" if language == "en" else word, plain), word


def words_of_the_strip(language: str) -> list[str]:
    """The texts that the pack's elements show in a language."""

    def texts(content: object) -> Iterator[str]:
        for value in content.values() if isinstance(content, dict) else ():
            yield from [value] if isinstance(value, str) else texts(value)

    return list(texts(json.loads(strings_of(language))))


def strings_of(language: str) -> str:
    return (DOCS.parent / "strings" / f"{language}.json").read_text(encoding="utf-8")


def test_other_languages_get_the_english_page(nodes):
    for node in nodes:
        assert (DOCS / f"{node}.md").read_bytes() == (DOCS / node / "en.md").read_bytes()


def test_there_is_no_page_without_a_node(nodes):
    assert {path.stem for path in DOCS.glob("*.md")} == set(nodes)
