"""Every link and anchor of the documentation leads somewhere, also from the pack as the registry installs it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pathspec

REPO = Path(__file__).resolve().parents[2]
REPOSITORY = re.search(r'^Repository = "(.+)"$', (REPO / "pyproject.toml").read_text("utf-8"), re.MULTILINE).group(1)
OWNER = REPOSITORY.removeprefix("https://github.com/")
OURS = (  # addresses of files of this repository, as they will be on its main branch
    re.compile(re.escape(REPOSITORY) + r"/(?:blob|tree|raw)/main/([^#?]*)"),
    re.compile(rf"https://raw\.githubusercontent\.com/{re.escape(OWNER)}/main/([^#?]*)"),
)
GENERATED = {".git", ".pytest_cache", ".ruff_cache", ".hypothesis", "output", "node_modules", ".venv", "shared"}
PAGES = sorted(p for p in REPO.rglob("*.md") if not GENERATED & set(p.relative_to(REPO).parts))
FENCE = re.compile(r"^(```|~~~).*?^\1[ ]*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]+`")
LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^()\s>]+(?:\([^()\s]*\)[^()\s>]*)?)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"^\s*\[[^\]]+\]:\s+(\S+)", re.MULTILINE)
HTML = re.compile(r"<(?:a|img|source|video)\b[^>]*?\b(?:href|src|srcset)\s*=\s*[\"']([^\"']+)[\"']", re.IGNORECASE)
HEADING = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t]*#*$", re.MULTILINE)


def links(text: str) -> Iterator[str]:
    """Targets of the links and pictures of a page, without what stands in code."""
    plain = CODE.sub("", FENCE.sub("", text))
    inner = re.compile(r"!\[[^\]]*\]\(([^()\s]+)")  # a picture that is itself the text of a link
    yield from dict.fromkeys(m for kind in (LINK, inner, REFERENCE, HTML) for m in kind.findall(plain))


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors that GitHub gives the headings of a page, and those that the page names itself."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    found: dict[str, int] = {}
    for heading in HEADING.findall(text):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        anchor = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        times = found.get(anchor, 0)
        found[anchor] = times + 1
        if times:
            found[f"{anchor}-{times}"] = 1
    return frozenset(found) | frozenset(re.findall(r"<a\s+(?:id|name)=\"([^\"]+)\"", text))


@cache
def left_out() -> pathspec.PathSpec:
    """What is not in the archive that the registry gives out."""
    return pathspec.PathSpec.from_lines("gitwildmatch", (REPO / ".comfyignore").read_text("utf-8").splitlines())


def home(page: Path) -> Path:
    """Where relative links of a page begin: the front end shows all of a pack's help pages as if they lay in docs."""
    help_pages = REPO / "web" / "docs"
    return help_pages if help_pages in page.parents else page.parent


def fault(page: Path, link: str) -> str | None:
    """What is wrong with a link of ``page``; ``None`` if nothing is, or if it leads to another site."""
    address, _, anchor = link.partition("#")
    ours = next((m.group(1) for pattern in OURS if (m := pattern.match(link))), None)
    if ours is None and re.match(r"[a-z]+:", address):
        return None if address.startswith(("https://", "mailto:")) else "is not https"
    if address.startswith("/"):
        return "begins with a slash, which means another place on each site"
    target = (REPO / unquote(ours)) if ours is not None else (home(page) / unquote(address)) if address else page
    target = target.resolve()
    if REPO not in (target, *target.parents) or not target.exists():
        return "leads to nothing"
    name, from_name = (path.relative_to(REPO).as_posix() for path in (target, page))
    if ours is None and left_out().match_file(name) and not left_out().match_file(from_name):
        return f"leads out of the installed pack: write {REPOSITORY}/blob/main/{name}"
    if anchor and anchor not in anchors(target):
        return f"names no heading of {name}; there are {', '.join(sorted(anchors(target)))}"
    return None


def test_every_link_leads_somewhere():
    assert PAGES
    texts = {page: page.read_text(encoding="utf-8") for page in PAGES}
    assert not {(page, link): found for page in PAGES for link in links(texts[page]) if (found := fault(page, link))}


def test_pictures_and_pages_of_the_readme_are_found_from_the_registry():
    """Whoever shows the README elsewhere shows it alone: what is relative there leads to their own site."""
    readme = links((REPO / "README.md").read_text(encoding="utf-8"))
    assert [link for link in readme if not link.startswith(("https://", "#"))] == []


def test_notes_of_the_templates_link_to_files_of_this_repository_that_exist():
    templates = sorted(REPO.glob("example_workflows/*.json"))
    assert templates
    for template in templates:
        nodes = json.loads(template.read_text(encoding="utf-8"))["nodes"]
        notes = [node["widgets_values"][0] for node in nodes if node["type"] == "MarkdownNote"]
        assert notes, template
        for note in notes:
            assert not {link: found for link in links(note) if (found := fault(template, link))}, template


def test_every_page_of_the_documentation_is_linked_from_the_readme_or_a_page_it_links():
    seen, queue = set(), [REPO / "README.md"]
    while queue:
        page = queue.pop()
        if page in seen or page.suffix != ".md" or not page.exists():
            continue
        seen.add(page)
        for link in links(page.read_text(encoding="utf-8")):
            ours = next((m.group(1) for pattern in OURS if (m := pattern.match(link))), None)
            if ours is not None or not re.match(r"[a-z]+:", link):
                queue.append(((REPO / ours) if ours else page.parent / link.partition("#")[0]).resolve())
    assert set((REPO / "docs").glob("*.md")) - seen == set()


def test_what_the_checks_find():
    """Toys: each kind of a wrong link is named, each kind of a right one passes."""
    page = REPO / "README.md"
    assert list(links('[a](x.md) ![b](y.png) `[c](z.md)`\n```\n[d](w.md)\n```\n<img src="v.png">')) == [
        "x.md",
        "y.png",
        "v.png",
    ]
    assert "leads to nothing" in fault(page, "docs/none.md")
    assert "leads to nothing" in fault(page, f"{REPOSITORY}/blob/main/docs/none.md")
    assert "installed pack" in fault(page, "docs/trust.md")
    assert "names no heading" in fault(page, f"{REPOSITORY}/blob/main/docs/trust.md#nothing")
    assert "another place" in fault(page, "/docs/trust.md")
    assert "not https" in fault(page, "http://example.org")
    assert fault(page, f"{REPOSITORY}/blob/main/docs/trust.md#torchcompile") is None
    assert fault(REPO / "docs" / "trust.md", "../SECURITY.md") is None
    assert fault(page, "https://example.org/anything") is None
