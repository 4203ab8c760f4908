"""Writes what follows from the registries of policies and presets: ``make pages``.

The core says of each policy and preset in English what people are told, ``locales/zh/methods.json`` and
``locales/ja/methods.json`` say it by hand in their languages.  Made from these are the names on the menus
(``web/names.js``), tables of help pages and of docs/methods.md, tooltips that list policies or presets, and
``locales/en/methods.json``, which a translator begins with.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[1]
sys.path.append(str(REPO))

from dicache_core.methods.predictors import predictor_class  # noqa: E402
from dicache_core.policies import GROUPS, NAMED  # noqa: E402
from dicache_core.policy import Group, NamedPolicy  # noqa: E402
from dicache_core.presets import MENU, PRESETS  # noqa: E402

Texts = dict[str, Any]  # as in ``locales/*/methods.json``
TRANSLATED = ("zh", "ja")
HELP = REPO / "web" / "docs"
WORDS = {
    "policy": "Policy",
    "when": "When a step is skipped",
    "how": "How it is rebuilt",
    "preset": "Preset",
    "skips": "What it skips",
    "use": "For",
    "up to": "{name}, up to {speed}",
}
TOOLTIPS = {  # of inputs, and which lists they have
    "DiCacheApply.preset": ("presets",),
    "DiCacheApplyRay.preset": ("presets",),
    "DiCacheCompare.settings": ("preset names",),
    "DiCachePolicy.interval": ("counting",),
    "DiCachePolicy.curve": ("calibrated",),
}


def english() -> Texts:
    """What the registries say."""
    return {
        "words": WORDS,
        "groups": {group.value: {"label": texts.label, "heading": texts.heading} for group, texts in GROUPS.items()},
        "presets": {
            name: {**({"label": preset.label} if preset.label else {}), "skips": preset.skips, "use": preset.use}
            for name, preset in MENU.items()
        },
        "policies": {name: {"title": row.title, "when": row.when, "how": row.how} for name, row in NAMED.items()},
    }


def texts_of(language: str) -> Texts:
    """What was written by hand; English is from the registries.  Raises ``ValueError`` for what is missing."""
    if language == "en":
        return english()
    texts = json.loads((REPO / "locales" / language / "methods.json").read_text(encoding="utf-8"))
    if lacking := missing(texts):
        raise ValueError(f"locales/{language}/methods.json lacks {', '.join(lacking)}")
    return texts


def missing(texts: Texts) -> list[str]:
    """What a language still lacks; a title or label of its own is free where the English one is a name."""
    wanted = [
        (part, key, name)
        for part in ("groups", "presets", "policies")
        for key, of in english()[part].items()
        for name in of
    ]
    free = {("policies", name, "title") for name in NAMED}
    lacking = [
        "/".join(place)
        for place in wanted
        if place not in free and not texts.get(place[0], {}).get(place[1], {}).get(place[2])
    ]
    lacking += [f"words/{word}" for word in WORDS if not texts.get("words", {}).get(word)]
    for tooltip, lists in TOOLTIPS.items():
        text = texts.get("tooltips", {}).get(tooltip, "")
        lacking += [f"tooltips/{tooltip}: {{{name}}}" for name in lists if f"{{{name}}}" not in text]
    return lacking


def extra(texts: Texts) -> list[str]:
    """Policies, presets and groups of a language that are not there (any more)."""
    return [
        f"{part}/{key}" for part in ("groups", "presets", "policies") for key in texts[part].keys() - english()[part]
    ]


def pages() -> dict[Path, str]:
    """Every file that is made, or that has a part that is made, with what it should hold."""
    found = {
        REPO / "locales" / "en" / "methods.json": json_lines(english()),
        REPO / "web" / "names.js": names_script(),
        REPO / "docs" / "methods.md": written(REPO / "docs" / "methods.md", "policies", methods_table()),
    }
    for language in ("en", *TRANSLATED):
        texts = texts_of(language)
        for node, name, table in (
            ("DiCachePolicy", "policies", policy_tables(texts)),
            ("DiCacheApply", "presets", preset_table(texts)),
        ):
            page = HELP / node / f"{language}.md"
            found[page] = written(page, name, table)
        if language != "en":
            path = REPO / "locales" / language / "nodeDefs.json"
            found[path] = with_tooltips(path, texts)
    for page in HELP.glob("*/en.md"):  # what languages without a translation get
        found[page.parent.with_suffix(".md")] = found.get(page) or page.read_text(encoding="utf-8")
    return found


def written(page: Path, name: str, table: str) -> str:
    """The text of ``page`` with ``table`` between the markers of that name."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    text = page.read_text(encoding="utf-8")
    if begin not in text or end not in text:
        raise ValueError(f"{page} has no {begin} and {end}: write them where the table belongs")
    return f"{text.partition(begin)[0]}{begin}\n{table}\n{end}{text.partition(end)[2]}"


def table(head: list[str], rows: list[list[str]], rule: str = " --- ") -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, *rows)).replace(
        "\n", f"\n|{'|'.join([rule] * len(head))}|\n", 1
    )


def policy_tables(texts: Texts) -> str:
    """A table per group of the menu."""
    words = texts["words"]
    parts = []
    for group in Group:
        rows = [
            [f"*{name}*", texts["policies"][name]["when"], texts["policies"][name]["how"]]
            for name, row in NAMED.items()
            if row.group is group
        ]
        parts += [texts["groups"][group.value]["heading"], table([words["policy"], words["when"], words["how"]], rows)]
    return "\n\n".join(parts)


def preset_table(texts: Texts) -> str:
    words = texts["words"]
    rows = [[f"*{name}*", texts["presets"][name]["skips"], texts["presets"][name]["use"]] for name in MENU]
    return table([words["preset"], words["skips"], words["use"]], rows)


def methods_table() -> str:
    """Of docs/methods.md, with what a policy needs and where it is from."""
    rows = [
        [f"`{name}`", GROUPS[row.group].label, row.when, row.how, needs(row), source(row)]
        for name, row in NAMED.items()
    ]
    return table(["policy", "group", "when a step is skipped", "how it is rebuilt", "needs", "source"], rows, "---")


def needs(row: NamedPolicy) -> str:
    if row.policy.calibrated:
        return "a calibration"
    if row.policy.limited_by == "mask":
        return "a mask"
    return "a negative prompt (cfg over 1)" if predictor_class(row.policy.predictor).wants_cond_output else "nothing"


def source(row: NamedPolicy) -> str:
    if row.source is None:
        return ""
    after = "after " if row.source.idea_only else ""
    arxiv = row.source.arxiv
    return f"{after}{row.source.name}" + (f", [{arxiv}](https://arxiv.org/abs/{arxiv})" if arxiv else "")


def with_tooltips(path: Path, texts: Texts) -> str:
    """A ``nodeDefs.json`` with the tooltips of ``TOOLTIPS`` made anew; all else of it is written by hand."""
    content = json.loads(path.read_text(encoding="utf-8"))
    comma, stop = "、", "。"
    for tooltip in TOOLTIPS:
        node, widget = tooltip.split(".")
        offered = PRESETS if node == "DiCacheApplyRay" else MENU
        lists = {
            "presets": "".join(f"{name}：{texts['presets'][name]['skips']}{stop}" for name in offered).replace("*", ""),
            "preset names": comma.join(MENU),
            "counting": comma.join(name for name, row in NAMED.items() if row.policy.limited_by == "interval"),
            "calibrated": comma.join(name for name, row in NAMED.items() if row.policy.calibrated),
        }
        content[node]["inputs"][widget]["tooltip"] = re.sub(
            r"\{(.+?)\}", lambda found, lists=lists: lists[found.group(1)], texts["tooltips"][tooltip]
        )
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"


def names_script() -> str:
    """The names on the menus, per language of the front end: of policies with the group that each stands in."""
    languages = {language: texts_of(language) for language in ("en", *TRANSLATED)}
    policies = {language: policy_labels(texts) for language, texts in languages.items()}
    presets = {language: preset_labels(texts) for language, texts in languages.items()}
    taiwan = languages["zh"]["zh-TW"]
    groups = {key: {"label": label} for key, label in taiwan["groups"].items()}
    labels = {name: {"label": label} for name, label in taiwan["presets"].items()}
    policies["zh-TW"] = policy_labels({"groups": english()["groups"] | groups, "policies": {}})
    presets["zh-TW"] = preset_labels({"words": taiwan["words"], "presets": labels})
    return "\n".join(
        [
            "// Names for people of what the pack's menus offer, per language of the front end.",
            "// Made by `make pages` from the core and from locales/*/methods.json: edit those.",
            f"export const POLICIES = {script_object(policies)};",
            "",
            f"export const PRESETS = {script_object(presets)};",
            "",
        ]
    )


def policy_labels(texts: Texts) -> dict[str, str]:
    """``"fbcache"`` -> ``"FBCache · judges every step"``."""
    titles = {name: texts["policies"].get(name, {}).get("title", row.title) for name, row in NAMED.items()}
    return {name: f"{titles[name]} · {texts['groups'][row.group.value]['label']}" for name, row in NAMED.items()}


def preset_labels(texts: Texts) -> dict[str, str]:
    """``"fast"`` -> ``"fast, up to 3x"``."""

    def label(name: str) -> str:
        preset = MENU[name]
        own = texts["presets"].get(name, {}).get("label", preset.label)
        return own or texts["words"]["up to"].format(name=name, speed=preset.speed)

    return {name: label(name) for name in MENU}


def script_object(tables: dict[str, dict[str, str]]) -> str:
    lines = []
    for language, names in tables.items():
        lines += [f"  {json.dumps(language)}: {{"]
        lines += [f"    {json.dumps(key)}: {json.dumps(name, ensure_ascii=False)}," for key, name in names.items()]
        lines += ["  },"]
    return "\n".join(["{", *lines, "}"])


def json_lines(content: dict[str, dict[str, Any]]) -> str:
    """JSON with a line per entry of each part."""

    def part(entries: dict[str, Any]) -> Iterator[str]:
        for key, value in entries.items():
            yield f"    {json.dumps(key, ensure_ascii=False)}: {json.dumps(value, ensure_ascii=False)}"

    parts = [f"  {json.dumps(name)}: {{\n" + ",\n".join(part(entries)) + "\n  }" for name, entries in content.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def stale() -> list[str]:
    """Files that ``make pages`` would change."""
    found = pages()
    return [
        path.relative_to(REPO).as_posix()
        for path, text in found.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def main() -> None:
    changed = stale()
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8", newline="\n")
    print("\n".join(changed) or "nothing has changed")


if __name__ == "__main__":
    main()
