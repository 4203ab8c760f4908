"""Write the golden files anew: ``python tests/host/run.py --script tests/golden/make.py``.

After a change that is meant to change results; the difference in Git then says which.  With ``--bits FILE`` it writes
what runs give to the last bit into that file instead, for ``same_bits.py``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path.extend([str(TESTS), str(TESTS / "host"), str(TESTS.parent)])

from golden import record  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bits", type=Path, help="write what runs give to the last bit into this file, and no other")
    parser.add_argument("--toy", action="store_true", help="with --bits, the toy alone")
    options = parser.parse_args()
    toy = list(record.toy_runs())
    if options.toy:
        write_bits(options.bits, toy=toy)
        return
    import inprocess
    from layout import base_directory
    from provision import running_host

    with tempfile.TemporaryDirectory() as folder:
        comfy = inprocess.start(Path(running_host().comfy), base_directory(Path(folder)))
        testbed = list(record.testbed_runs(comfy))
        if options.bits:
            write_bits(options.bits, toy=toy, testbed=testbed)
            return
        write("toy.json", {run.name: run.golden for run in toy})
        write("testbed.json", {run.name: run.golden for run in testbed})
        write("schemas.json", record.schemas(comfy))
        write("run.json", record.jsons(comfy))
        for name, text in record.files(comfy, testbed[0]).items():
            (record.FOLDER / name).write_text(text + "\n", encoding="utf-8")


def write_bits(path: Path, **runs: list[record.Run]) -> None:
    bits = {model: {run.name: run.bits for run in of_model} for model, of_model in runs.items()}
    path.write_text(json.dumps(bits, indent=1), encoding="utf-8")


def write(name: str, content: dict[str, Any]) -> None:
    """A line per run and key of it, so that a difference is read where it is."""
    lines = [
        f"{json.dumps(key)}: {{\n" + ",\n".join(f" {json.dumps(k)}: {json.dumps(v)}" for k, v in value.items()) + "\n}"
        if isinstance(value, dict)
        else f"{json.dumps(key)}: {json.dumps(value)}"
        for key, value in content.items()
    ]
    (record.FOLDER / name).write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
