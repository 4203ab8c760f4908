"""Translations and help pages are complete: nothing a node says is missing in a language."""

import json

import pytest
from make_locales import DOCS, LOCALES, node_definitions, read

LANGUAGES = ("en", "zh", "ja")


@pytest.fixture(scope="module")
def nodes(server) -> dict:
    return node_definitions(json.loads(server.get("/object_info")))


def test_english_is_what_the_nodes_say(nodes):
    assert read("en") == nodes, "run tests/web/make_locales.py"


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


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_setting_is_named(server, language):
    assert json.loads(server.get("/i18n"))[language]["settings"]["DiCache_ShowStrip"]["name"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_node_has_a_help_page_that_names_its_inputs(server, nodes, language):
    names = read(language)
    for node, texts in nodes.items():
        page = server.get(f"/extensions/ComfyUI-DiCache/docs/{node}/{language}.md").decode()
        assert page.startswith("# " + names[node]["display_name"])
        for key in texts["inputs"]:
            assert f"**{names[node]['inputs'][key]['name']}**" in page, f"{node}.{key} in {language}"


def test_other_languages_get_the_english_page(nodes):
    for node in nodes:
        assert (DOCS / f"{node}.md").read_bytes() == (DOCS / node / "en.md").read_bytes()


def test_there_is_no_page_without_a_node(nodes):
    assert {path.stem for path in DOCS.glob("*.md")} == set(nodes)
