"""``make bench-real``: the bench of your models, or without a workflow the same on a tiny one, to see that it works.

``ARGS="--url ADDRESS WORKFLOW"`` takes your own ComfyUI.  Without a workflow a ComfyUI is started for it, with the
testbed's Flux on a CPU.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import bench_real

REPO = bench_real.REPO
sys.path.extend([str(REPO / "tests"), str(REPO / "tests" / "host")])
WORKFLOW = REPO / "tools" / "demo" / "workflows" / "testbed_flux.json"
PROMPTS = 3


def main(arguments: list[str]) -> int:
    parser = bench_real.parser()
    parser.add_argument(
        "--quick", action="store_true", help="one prompt of the tiny model, written to output/quick/real"
    )
    options = parser.parse_args(arguments)
    if options.workflow:
        return bench_real.main(arguments)
    number, folder = (1, REPO / "output" / "quick" / "real") if options.quick else (PROMPTS, REPO / "output" / "real")
    return on_testbed(number, options.out or folder, again=options.quick or options.again)


def on_testbed(number: int, folder: Path, again: bool = False) -> int:
    """Measure the tiny Flux in a ComfyUI that is started for it; captions are those that it was trained on."""
    from comfy_server import ComfyServer
    from provision import ProvisionError, running_host
    from testbed.captions import CAPTIONS

    try:
        host = running_host()
    except ProvisionError as error:
        print(error, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as listed, ComfyServer(host) as server:
        captions = Path(listed) / "captions.json"
        captions.write_text(json.dumps(CAPTIONS), encoding="utf-8")
        options = ["--url", server.url, "--list", str(captions), "--prompts", str(number), "--out", str(folder)]
        return bench_real.main([str(WORKFLOW), *options, *(["--again"] if again else [])])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
