"""A ComfyUI server of our own on a loopback port, and a client for its HTTP API and websocket.

(Not called ``server``: that is the name of ComfyUI's own module, which in-process tests import.)
"""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import aiohttp
import psutil
from layout import REPO, base_directory
from provision import Host

CELLS = 12  # of the testbed's Flux, whose pictures have 32: what the tests of server and front end sample
Graph = dict[str, dict]  # API format: node id -> {"class_type", "inputs"}


@dataclass(frozen=True)
class Event:
    """One websocket message and the client's clock when it came, in seconds."""

    time: float
    type: str
    data: dict


@dataclass
class Run:
    """What one queued prompt did."""

    prompt_id: str
    events: list[Event] = field(default_factory=list)
    outputs: dict[str, dict] = field(default_factory=dict)
    error: dict | None = None

    def data(self, kind: str) -> list[dict]:
        """The data of all events of one type, in order."""
        return [event.data for event in self.events if event.type == kind]

    def seconds(self, node: str) -> float:
        """From the moment ``node`` began until the next node began or the prompt ended."""
        marks = [(e.time, e.data.get("node")) for e in self.events if e.type == "executing"]
        for (begin, name), (end, _) in pairwise(marks):
            if name == node:
                return end - begin
        raise LookupError(f"node {node} did not run; these did: {[name for _, name in marks]}")


class ComfyServer:
    """``with ComfyServer(host) as server: server.run(graph)``; the process tree is gone when the block ends.

    ``pack`` is the folder that stands in ``custom_nodes``: this checkout, or what somebody would install.
    ``cells`` is the width and height of the testbed's latents, for those who do not look at its pictures.
    """

    def __init__(
        self,
        host: Host,
        *,
        cpu: bool = True,
        arguments: tuple[str, ...] = (),
        patience: float = 180.0,
        pack: Path = REPO,
        cells: int | None = None,
    ) -> None:
        self.host, self.cpu, self.arguments, self.patience, self.pack = host, cpu, arguments, patience, pack
        self.cells = cells
        self.client_id = uuid.uuid4().hex
        self.process: subprocess.Popen | None = None

    def __enter__(self) -> "ComfyServer":
        self._folder = tempfile.TemporaryDirectory(prefix="comfyui-dicache-", ignore_cleanup_errors=True)
        try:
            self.base = base_directory(Path(self._folder.name), self.pack)
            self.log_path = self.base / "server.log"
            self.port = _free_port()
            self.url = f"http://127.0.0.1:{self.port}"
            self._start()
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception) -> None:
        if self.process is not None:
            _end_tree(self.process)
            self.process = None
        self._folder.cleanup()

    @property
    def log(self) -> str:
        """Everything the server wrote so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def run(
        self,
        graph: Graph,
        on_event: Callable[[Event], None] | None = None,
        patience: float = 300.0,
        extra_data: dict | None = None,
    ) -> Run:
        """Queue ``graph``, wait for its end and return events, outputs and the error, if there was one.

        ``extra_data`` is what a browser sends along, such as the workflow that the graph was made from.
        """
        return asyncio.run(asyncio.wait_for(self._run(graph, on_event, extra_data or {}), patience))

    def get(self, path: str) -> bytes:
        """GET ``path``, e.g. ``/object_info/DiCacheApply``."""
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return answer.read()

    def image(self, entry: dict) -> bytes:
        """The file that an entry of ``Run.outputs[node]["images"]`` names."""
        query = "&".join(f"{key}={urllib.request.quote(entry[key])}" for key in ("filename", "subfolder", "type"))
        return self.get(f"/view?{query}")

    def interrupt(self) -> None:
        """Stop the running prompt, as the stop button does."""
        urllib.request.urlopen(
            urllib.request.Request(self.url + "/interrupt", data=b"{}", method="POST"), timeout=30
        ).close()

    async def _run(self, graph: Graph, on_event: Callable[[Event], None] | None, extra_data: dict) -> Run:
        async with aiohttp.ClientSession(self.url) as session:
            async with session.ws_connect(f"/ws?clientId={self.client_id}", max_msg_size=0) as socket_:
                body = {"prompt": graph, "client_id": self.client_id, "extra_data": extra_data}
                async with session.post("/prompt", json=body) as answer:
                    reply = await answer.json()
                if answer.status != 200:
                    raise RuntimeError(f"ComfyUI refused the graph: {json.dumps(reply, indent=1)}")
                run = Run(reply["prompt_id"])
                async for message in socket_:
                    if message.type != aiohttp.WSMsgType.TEXT:
                        continue  # previews
                    body = json.loads(message.data)
                    event = Event(time.perf_counter(), body["type"], body["data"])
                    run.events.append(event)
                    if on_event:
                        on_event(event)
                    # Sent after the history is written, unlike execution_success.
                    if (
                        event.type == "executing"
                        and event.data["node"] is None
                        and event.data["prompt_id"] == run.prompt_id
                    ):
                        break
                else:
                    raise RuntimeError(f"ComfyUI closed the websocket. {self._tail()}")
            async with session.get(f"/history/{run.prompt_id}") as answer:
                run.outputs = (await answer.json())[run.prompt_id]["outputs"]
        errors = run.data("execution_error") + run.data("execution_interrupted")
        run.error = errors[0] if errors else None
        return run

    def _start(self) -> None:
        main = Path(self.host.comfy) / "main.py"
        command = [self.host.python, str(Path(__file__).with_name("server_child.py")), str(main)]
        command += ["--listen", "127.0.0.1", "--port", str(self.port), "--base-directory", str(self.base)]
        command += ["--database-url", f"sqlite:///{(self.base / 'user' / 'comfyui.db').as_posix()}"]
        # --disable-api-nodes also keeps the front end from asking the internet for anything.
        command += ["--disable-auto-launch", "--disable-api-nodes", *(["--cpu"] if self.cpu else []), *self.arguments]
        # Spinning worker threads make a busy machine ten times slower than a free one; sleeping ones do not.
        environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
        if self.cells:
            environment["DICACHE_TESTBED_CELLS"] = str(self.cells)
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, cwd=self.base, env=environment
            )

    def _wait(self) -> None:
        deadline = time.monotonic() + self.patience
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"ComfyUI ended with exit code {self.process.returncode}. {self._tail()}")
            with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                self.get("/system_stats")
                return
            time.sleep(0.1)
        raise RuntimeError(f"ComfyUI did not answer within {self.patience:.0f} s. {self._tail()}")

    def _tail(self) -> str:
        return "The end of its log:\n" + "\n".join(self.log.splitlines()[-40:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _end_tree(process: subprocess.Popen) -> None:
    """Ask politely, then insist; children of ComfyUI's packs included."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid)
        members = [*family.children(recursive=True), family]
        for member in members:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.terminate()
        for member in psutil.wait_procs(members, timeout=5)[1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
    process.wait()
    process.stdin.close()
