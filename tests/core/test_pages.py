"""What is made from the registries of policies and presets is up to date, and no language lacks a text."""

import sys
from copy import deepcopy
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))
import pages

from dicache_core.policies import METHODS, NAMED
from dicache_core.presets import MENU


def test_pages_menus_and_texts_are_as_the_registries_say():
    assert pages.stale() == [], "run make pages"


@pytest.mark.parametrize("language", pages.TRANSLATED)
def test_no_policy_preset_or_group_lacks_a_translation(language):
    texts = pages.texts_of(language)
    assert pages.missing(texts) == []
    assert pages.extra(texts) == []


def test_what_is_missing_is_named():
    texts = deepcopy(pages.texts_of("zh"))
    del texts["policies"]["foca"], texts["policies"]["hyca"]["how"], texts["presets"]["tuned"]["label"]
    texts["policies"]["gone"] = {"when": "x", "how": "x"}
    texts["tooltips"]["DiCachePolicy.interval"] = "n"
    assert pages.missing(texts) == [
        "presets/tuned/label",
        "policies/foca/when",
        "policies/foca/how",
        "policies/hyca/how",
        "tooltips/DiCachePolicy.interval: {counting}",
    ]
    assert pages.extra(texts) == ["policies/gone"]


def test_every_file_of_a_method_is_on_the_menu_and_every_id_once():
    rows = [row for method in METHODS for row in method.POLICIES]
    assert len(rows) == len(NAMED) == len({row.id for row in rows})
    assert all(row.title and row.when and row.how for row in rows)


def test_menus_have_a_name_of_its_own_for_each():
    for language in ("en", *pages.TRANSLATED):
        texts = pages.texts_of(language)
        for labels, menu in ((pages.policy_labels(texts), NAMED), (pages.preset_labels(texts), MENU)):
            assert list(labels) == list(menu)
            assert len(set(labels.values())) == len(menu), language
