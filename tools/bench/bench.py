"""What every bench stands on: the host in this process, cells measured side by side and kept, one JSON, Markdown.

Importing it lets a script import what stands beside it, the testbed and the helpers of ``tests/host``.
"""

import argparse
import atexit
import hashlib
import json
import logging
import multiprocessing
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from operator import itemgetter
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
RESULTS, KEPT, QUICK = REPO / "tools" / "bench" / "results", REPO / "output" / "bench", REPO / "output" / "quick"
README, DOCS = REPO / "README.md", REPO / "docs"
sys.path.extend(map(str, (RESULTS.parent, REPO, REPO / "tests", REPO / "tests" / "host")))


def parser(doc: str | None, jobs: int = 0) -> argparse.ArgumentParser:
    """The options that every bench has, and with ``jobs`` the one of those that measure cells side by side."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    shortest = "the shortest form, in seconds, to see that it runs: writes to output/quick and to no page"
    made.add_argument("--quick", action="store_true", help=shortest)
    if jobs:
        made.add_argument("--jobs", type=int, default=jobs, help="processes at a time, each with one thread")
    return made


@cache
def host(threads: int = 1) -> Any:
    """ComfyUI in this process with the pack in it, quiet from here on; 0 threads: as many as torch takes."""
    import torch
    from inprocess import start
    from layout import base_directory
    from provision import running_host

    folder = tempfile.TemporaryDirectory(prefix="comfyui-dicache-", ignore_cleanup_errors=True)
    atexit.register(folder.cleanup)
    torch.set_num_threads(threads or torch.get_num_threads())
    comfy = start(Path(running_host().comfy), base_directory(Path(folder.name)))
    _ = comfy.pack
    logging.disable(logging.INFO)
    return comfy


def measured(measure: Callable[[Any], Any], cells: Sequence[Any], jobs: int, quick: bool = False) -> list[Any]:
    """``measure(cell)`` of every cell, in their order, by ``jobs`` processes of one thread each.

    A cell's ``repr`` and ``state`` say what its result depends on: what is known already is not measured again, and an
    interrupted run goes on where it stopped.  A ``quick`` one measures in this process and keeps nothing.
    """
    if quick:
        return [measure(cell) for cell in cells]
    from tqdm import tqdm

    KEPT.mkdir(parents=True, exist_ok=True)
    os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        return list(tqdm(pool.map(partial(_kept, measure, state()), cells), total=len(cells)))


def _kept(measure: Callable[[Any], Any], state: str, cell: Any) -> Any:
    name = hashlib.sha256(f"{state} {cell}".encode()).hexdigest()[:16]
    path = KEPT / f"{Path(sys.argv[0]).stem}-{name}.json"
    if not path.is_file():
        found = json.dumps(measure(cell))
        part = path.with_suffix(f".{os.getpid()}")
        part.write_text(found, encoding="utf-8")
        part.replace(path)
    return json.loads(path.read_text(encoding="utf-8"))


def state() -> str:
    """Names the measured code, the measuring one, the checkpoints and the host."""
    from provision import running_host

    files = [path for name in ("dicache_core", "model_patchers", "tools/bench") for path in (REPO / name).rglob("*.py")]
    digest = hashlib.sha256(running_host().version.encode())
    for path in (*sorted(files), *sorted((REPO / "tests" / "testbed" / "weights").iterdir())):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:10]


def merged(old: Iterable[dict], new: Sequence[dict], *names: str) -> list[dict]:
    """``new`` rows, and those of ``old`` that none of them measures again; columns ``names`` say what a row is of."""
    place = itemgetter(*names)
    again = set(map(place, new))
    return [row for row in old if place(row) not in again] + list(new)


def results(name: str) -> Any:
    """What a bench wrote for the pages."""
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def write(name: str, found: Any, quick: bool = False) -> Path:
    """Where pages are made from, or a trial's numbers where nothing is."""
    path = (QUICK if quick else RESULTS) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path}")
    return path


def table(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Markdown."""
    lines = [titles, ["---"] * len(titles), *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"|{'|'.join(line)}|" if line is lines[1] else f"| {' | '.join(line)} |" for line in lines)


def put(page: Path, **texts: str) -> None:
    """Write each text between the markers of its name."""
    found = page.read_text(encoding="utf-8")
    for name, text in texts.items():
        found = written(found, name, text)
    page.write_text(found, encoding="utf-8")


def written(page: str, name: str, text: str) -> str:
    """The text ``page`` with another one between the markers of that name."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    pattern = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"The page has no {begin} and {end}: write them where the table belongs")
    return pattern.sub(lambda _: f"{begin}\n{text}\n{end}", page)
