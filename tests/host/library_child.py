"""ComfyUI as a library, in a plain script: no server, no prompt.  ``python library_child.py COMFY``.

Prints one line of JSON: per node id the cells of the run, whether two runs are equal, and what the log said.
"""

import importlib.util
import json
import logging
import sys
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[1]


def load_pack():
    """The pack as a package, the way a script can: its folder's name is no name of a module."""
    spec = importlib.util.spec_from_file_location(
        "dicache_pack", REPO / "__init__.py", submodule_search_locations=[str(REPO)]
    )
    pack = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = pack
    spec.loader.exec_module(pack)
    return pack


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def without_inference_mode(core, patchers) -> dict[str, str]:
    """preset and sampler -> cells of a run outside inference mode, or what it raised.

    Its weights want gradients, as those of a network that a script has loaded may; uni_pc runs it with gradients on.
    """
    import comfy.sample
    from testbed import conditioning as testbed
    from testbed.captions import CAPTIONS
    from testbed.models import build_model

    found = {}
    model = build_model("unet")
    model.model.diffusion_model.requires_grad_(True)
    texts, latent = (
        [testbed.conditioning("unet", text) for text in (CAPTIONS[0], "")],
        testbed.empty_latent("unet", 1, 4),
    )
    for preset in ("published", "balanced"):
        for sampler in ("euler", "uni_pc"):
            runs: list = []
            config = replace(core.resolve("unet", preset), target="4", warmup_steps=1)
            noise = comfy.sample.prepare_noise(latent, 0)
            try:
                out = comfy.sample.sample(
                    patchers.attach(model, config, runs=runs), noise, 8, 1.0, sampler, "normal", *texts, latent,
                    disable_pbar=True, seed=0,
                )  # fmt: skip
                found[f"{preset} {sampler}"] = runs[0].cells if out.isfinite().all() else "no number"
            except RuntimeError as error:
                found[f"{preset} {sampler}"] = f"raised {error}"
    return found


def main(path: str) -> None:
    sys.path[:0] = [path]
    sys.path.extend([str(HERE.parent), str(HERE)])
    from comfy.cli_args import args

    args.cpu = True
    import comfy.sample
    import comfy.sd
    import torch
    from testbed import conditioning as testbed
    from testbed.captions import CAPTIONS

    load_pack()
    core, patchers = sys.modules["dicache_pack.dicache_core"], sys.modules["dicache_pack.model_patchers"]
    lines = Lines()
    logging.getLogger("dicache").addHandler(lines)
    logging.getLogger("dicache").setLevel(logging.INFO)
    model = comfy.sd.load_diffusion_model(str(testbed.weights("flux")))
    positive, negative = testbed.conditioning("flux", CAPTIONS[0]), testbed.conditioning("flux", "")
    latent = testbed.empty_latent("flux", 1, 16)
    answer, latents = {}, []
    for node_id in (None, "7"):
        lines.lines.clear()
        runs: list = []
        patched = patchers.attach(model, core.CacheConfig(threshold=0.2, warmup_steps=2), node_id=node_id, runs=runs)
        noise = comfy.sample.prepare_noise(latent, 0)
        with torch.inference_mode():
            latents.append(
                comfy.sample.sample(
                    patched, noise, 10, 1.0, "euler", "simple", positive, negative, latent, disable_pbar=True, seed=0
                )
            )
        answer[str(node_id)] = {"cells": runs[0].cells, "log": list(lines.lines)}
    answer["equal"] = torch.equal(*latents)
    answer["without"] = without_inference_mode(core, patchers)
    answer["server"] = "server" in sys.modules
    print(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
