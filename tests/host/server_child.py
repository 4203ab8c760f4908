"""Start ComfyUI's main.py and end with the process that started us, even if that one is killed.

``python server_child.py .../main.py arguments``: stdin is a pipe whose other end the parent holds, so its end of file
is the one sign of the parent's death that every system gives.
"""

import os
import runpy
import sys
import threading


def _end_with_parent(pipe: int) -> None:
    while os.read(pipe, 1024):
        continue
    os._exit(1)


if __name__ == "__main__":
    # ComfyUI and its packs get an empty stdin; the pipe moves to a descriptor of its own.
    pipe = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    threading.Thread(target=_end_with_parent, args=(pipe,), daemon=True).start()
    sys.argv = sys.argv[1:]
    sys.path[0] = os.path.dirname(sys.argv[0])
    runpy.run_path(sys.argv[0], run_name="__main__")
