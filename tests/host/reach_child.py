"""Imports the pack in a fresh ComfyUI, samples and reports, and prints what Python had to open, start and connect.

``python reach_child.py COMFY BASE``.  The last line is JSON: the events of Python's audit hooks from just before the
pack is imported.
"""

import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.extend([str(HERE.parent), str(HERE), str(HERE.parents[1])])
WATCHED = ("socket.", "urllib.", "http.", "ftplib.", "smtplib.", "subprocess.", "os.", "pickle.", "shutil.", "open")
FOLDERS = ("os.listdir", "os.scandir", "os.walk", "os.fwalk", "os.chdir")  # looking around is no reach

events: list[list[str]] = []
listening = False


def listen(event: str, args: tuple) -> None:
    """Keep what goes out of the process; of ``open`` only what writes."""
    if not listening or not event.startswith(WATCHED) or event in FOLDERS:
        return
    if event == "open":
        path, mode, flags = args
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC)
        if isinstance(path, int) or not (writes or set(mode or "") & set("wax+")):
            return
        path = os.fspath(path)
        events.append([event, os.path.abspath(path.decode() if isinstance(path, bytes) else path)])
    else:
        events.append([event, repr(args)[:200]])


def main(path: str, base: str) -> None:
    global listening  # noqa: PLW0603 - an audit hook can neither be removed nor given an argument
    import inprocess
    import matplotlib.font_manager  # makes its list of fonts at its first import, and may ask the system's fc-list
    from layout import base_directory
    from testbed.captions import CAPTIONS

    comfy = inprocess.start(Path(path), base_directory(Path(base)))
    plain = comfy.load_model("flux")
    assert matplotlib.font_manager.fontManager.ttflist
    comfy.sample(plain, CAPTIONS[0], steps=3, size=16)  # the host's own first steps are not the pack's
    sys.addaudithook(listen)
    listening = True
    assert comfy.pack
    policy, *_ = comfy.node("DiCachePolicy", policy="fbcache")
    for settings in ({}, {"policy": policy}, {"cache_device": "cpu"}):
        model, log = comfy.node("DiCacheApply", model=comfy.load_model("flux"), **settings)
        comfy.sample(model, CAPTIONS[0], steps=10, size=16)
    report = sys.modules[f"{comfy.pack.__name__}.dicache_nodes.rendering"]
    report.plot_runs(log.runs)
    report.describe(log.runs[0])
    listening = False
    print(json.dumps(events))


if __name__ == "__main__":
    main(*sys.argv[1:])
