"""Write ``locales/en/nodeDefs.json`` from the nodes: the second half of ``make pages``, see ``tools/pages.py``.

English is what the nodes say themselves; the other languages are written by hand, and a test names what they lack.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "host")]

LOCALES = HERE.parents[1] / "locales"
DOCS = HERE.parents[1] / "web" / "docs"


def node_definitions(object_info: dict) -> dict:
    """The pack's entries of ComfyUI's ``/object_info`` as a ``nodeDefs.json``: display name, inputs, outputs."""
    return {
        name: {
            "display_name": info["display_name"],
            "description": info["description"],
            "inputs": {
                key: {"name": spec[1].get("display_name", key), "tooltip": spec[1].get("tooltip", "")}
                for group in ("required", "optional")
                for key, spec in info["input"].get(group, {}).items()
            },
            "outputs": {
                str(index): {"name": label, "tooltip": tooltip or ""}
                for index, (label, tooltip) in enumerate(zip(info["output_name"], info["output_tooltips"], strict=True))
            },
        }
        for name, info in sorted(object_info.items())
        if name.startswith("DiCache") and "Testbed" not in name
    }


def read(language: str) -> dict:
    """The ``nodeDefs.json`` of a language."""
    return json.loads((LOCALES / language / "nodeDefs.json").read_text(encoding="utf-8"))


def main() -> None:
    from comfy_server import ComfyServer
    from provision import provision

    with ComfyServer(provision()) as server:
        english = node_definitions(json.loads(server.get("/object_info")))
    text = json.dumps(english, ensure_ascii=False, indent=2) + "\n"
    (LOCALES / "en" / "nodeDefs.json").write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
