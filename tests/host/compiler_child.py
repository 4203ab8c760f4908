"""MiniMax H3's toy under the real Comfy Compiler, in a process of its own: a mistake there ends the process.

``compiler_child.py COMFY BASE PRESET``; leaves with ``SKIPPED`` and says why where there is no compiler to be had.
"""

import sys
from pathlib import Path

SKIPPED = 77
STEPS = 12


def main(comfy_path: str, base: str, preset: str) -> int:
    here = Path(__file__).resolve().parent
    sys.path[:0] = [comfy_path]
    sys.path.extend([str(here.parent), str(here), str(here.parents[1])])
    import comfy.options

    comfy.options.enable_args_parsing(False)
    try:
        from comfy_aimdo import control
    except ImportError as error:
        return skipped(error)
    control.init()  # before torch has a device, as the host's main.py does
    import torch

    if not torch.cuda.is_available():
        return skipped("no CUDA device")
    import inprocess

    comfy = inprocess.start(Path(comfy_path), Path(base))
    prefetch = comfy.module("comfy.model_prefetch")
    if not hasattr(prefetch, "malloc_graph_begin"):
        return skipped(f"ComfyUI {comfy.version} has no Comfy Compiler")
    device = torch.device("cuda", torch.cuda.current_device())
    if not control.init_devices([(device.index, 0)]):
        return skipped("no dynamic VRAM")
    comfy.module("comfy.memory_management").aimdo_enabled = True
    patcher = comfy.module("comfy.model_patcher")
    patcher.ModelPatcher = patcher.CoreModelPatcher = patcher.ModelPatcherDynamic
    if not prefetch.malloc_graph_enabled(device):
        return skipped("the Comfy Compiler is off")
    sample(comfy.pack, prefetch, device, preset)
    return 0


def sample(pack, prefetch, device, preset: str) -> None:
    """Two prompts, one that fails in its third step, and one more."""
    from compiled_toys import CompiledModel

    compiled, runs = CompiledModel("h3", device), []
    config = pack.dicache_core.resolve("minimax_h3", preset)
    model = pack.model_patchers.attach(compiled.model, config, runs=runs)

    def prompt(seed: int, callback=None) -> None:
        try:
            assert compiled.sample(model, STEPS, seed, callback=callback).isfinite().all()
        finally:
            prefetch.cleanup_prefetch_queues()  # as the host does behind each node

    def stop(step: int, *_: object) -> None:
        if step == 2:
            raise InterruptedError

    for seed in (0, 1):
        prompt(seed)
    try:
        prompt(2, stop)
    except InterruptedError:
        print("stopped")
    prompt(3)
    assert runs[-1].reused > 0, runs[-1].cells
    assert runs[-1].compiler == ("off" if preset == "published" else None), runs[-1].compiler


def skipped(why: object) -> int:
    print(why)
    return SKIPPED


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
