"""A running ComfyUI, asked over HTTP and its websocket, with what its own Python has: aiohttp, numpy and Pillow."""

from __future__ import annotations

import asyncio
import io
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import aiohttp
import numpy as np
from api_prompt import Info, Prompt
from PIL import Image
from ways import APPLY, PREVIEW

PATIENCE = 60  # seconds for an answer that needs no sampling
UNIQUE = "dicache_bench"  # an input that no node has: ComfyUI keeps no output of a node with another value in it
ENDED = ("execution_error", "execution_interrupted")


class ComfyError(RuntimeError):
    """ComfyUI is not there, refused, or failed; the message is one line for people."""


class RunError(ComfyError):
    """A node raised an error while a prompt ran; ``kind`` is the class of the exception."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass
class Done:
    """A prompt that ran.

    Attributes:
        seconds: of the whole prompt.
        sampling_seconds: of the nodes that run the model.
        images: every image or frame, (N, H, W, 3) in 0 to 255.
        notes: DiCache Apply's id -> what its runs noted, see ``dicache_core/run_json.py``.
    """

    seconds: float
    sampling_seconds: float
    images: np.ndarray = field(repr=False)
    notes: dict[str, list[dict[str, Any]]]


class Comfy:
    """The ComfyUI at an address."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.client_id = uuid.uuid4().hex

    def system(self) -> dict[str, Any]:
        """/system_stats, the first thing that is asked."""
        try:
            return json.loads(self._get("/system_stats"))
        except (OSError, ValueError) as error:
            raise ComfyError(
                f"no ComfyUI answers at {self.url} ({error}): start it, or name its address by --url"
            ) from error

    def nodes(self) -> Info:
        """What the server says of every node."""
        info = json.loads(self._get("/object_info"))
        if APPLY not in info:
            raise ComfyError(
                f"the ComfyUI at {self.url} has no DiCache Apply: install ComfyUI-DiCache there and restart it"
            )
        return info

    def run(self, prompt: Prompt, samplers: Iterable[str]) -> Done:
        """Queue a prompt, wait for its end and fetch its images."""
        unique = {UNIQUE: uuid.uuid4().hex}
        prompt = {
            name: {**node, "inputs": {**node["inputs"], **unique}} if name in samplers else node
            for name, node in prompt.items()
        }
        prompt_id, marks = asyncio.run(self._run(prompt))
        history = json.loads(self._get(f"/history/{prompt_id}"))[prompt_id]
        spans = [(name, end - begin) for (begin, name), (end, _) in pairwise(marks)]
        noted = history["prompt"][2]
        return Done(
            marks[-1][0] - marks[0][0],
            sum(seconds for name, seconds in spans if name in samplers),
            self._images(prompt, history["outputs"]),
            {
                name: node.get("_meta", {}).get("dicache", [])
                for name, node in noted.items()
                if node["class_type"] == APPLY
            },
        )

    async def _run(self, prompt: Prompt) -> tuple[str, list[tuple[float, str | None]]]:
        """Id, and (clock, node) when each node began; the last one is ``None``, the end."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=PATIENCE)
        async with aiohttp.ClientSession(self.url, timeout=timeout) as session:
            async with session.ws_connect(f"/ws?clientId={self.client_id}", max_msg_size=0) as socket:
                async with session.post("/prompt", json={"prompt": prompt, "client_id": self.client_id}) as answer:
                    reply = await answer.json()
                if answer.status != 200:
                    raise ComfyError(f"ComfyUI refuses the workflow: {_refusal(reply)}")
                prompt_id = reply["prompt_id"]
                try:
                    return prompt_id, await _followed(socket, prompt_id)
                except asyncio.CancelledError:  # Ctrl+C
                    await session.post("/queue", json={"delete": [prompt_id]})
                    await session.post("/interrupt", json={"prompt_id": prompt_id})
                    raise

    def _images(self, prompt: Prompt, outputs: dict[str, Any]) -> np.ndarray:
        previews = [name for name, node in prompt.items() if node["class_type"] == PREVIEW]
        return np.stack([self._image(entry) for name in previews for entry in outputs[name]["images"]])

    def _image(self, entry: dict[str, str]) -> np.ndarray:
        query = urllib.parse.urlencode({key: entry[key] for key in ("filename", "subfolder", "type")})
        return np.asarray(Image.open(io.BytesIO(self._get(f"/view?{query}"))).convert("RGB"))

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=PATIENCE) as answer:
            return answer.read()


async def _followed(socket: aiohttp.ClientWebSocketResponse, prompt_id: str) -> list[tuple[float, str | None]]:
    """The marks of a prompt, up to its end."""
    marks: list[tuple[float, str | None]] = []
    failure = None
    async for message in socket:
        if message.type != aiohttp.WSMsgType.TEXT:
            continue  # previews
        event = json.loads(message.data)
        data = event["data"]
        if data.get("prompt_id") != prompt_id:
            continue
        if event["type"] in ENDED:
            failure = _failure(event["type"], data)
        if event["type"] == "executing":  # the one without a node comes after the history is written
            marks.append((time.perf_counter(), data["node"]))
            if data["node"] is None:
                break
    else:
        raise ComfyError("ComfyUI closed the connection while it sampled: look at its log, then run this again")
    if failure:
        raise failure
    return marks


def _failure(kind: str, data: dict[str, Any]) -> ComfyError:
    if kind == "execution_interrupted":
        return ComfyError("the run was stopped in ComfyUI; run this again to go on")
    (first, *_) = str(data["exception_message"]).strip().splitlines() or [""]
    return RunError(f"{data['node_type']} failed: {first}", data["exception_type"].rpartition(".")[2])


def _refusal(reply: dict[str, Any]) -> str:
    """What is wrong with a prompt, in one line."""
    found = [
        _complaint(node["class_type"], error)
        for node in reply.get("node_errors", {}).values()
        for error in node["errors"]
    ]
    return "; ".join(dict.fromkeys(found)) or reply["error"]["message"]


def _complaint(kind: str, error: dict[str, Any]) -> str:
    about = error.get("extra_info", {})
    if error["type"] == "value_not_in_list":
        return (
            f"{kind} asks for {about['received_value']!r}, which this server does not have: put the file there, or "
            f"choose one of yours as {about['input_name']} and save the workflow again"
        )
    return f"{kind}: {error['message']} ({error['details']})"


@dataclass(frozen=True)
class Place:
    """Where was sampled, without names of people or folders."""

    device: str
    memory_gb: float
    os: str
    python: str
    torch: str
    comfyui: str

    @classmethod
    def of(cls, stats: dict[str, Any]) -> Place:
        """From /system_stats, of which the command line and everything else is left out."""
        system, device = stats["system"], stats["devices"][0]
        name = re.sub(r"^\w+:\d+ | : \w+$", "", device["name"])  # "cuda:0 NVIDIA H200 : cudaMallocAsync"
        python = system["python_version"].split()[0]
        memory = round(device["vram_total"] / 2**30, 1)
        return cls(name, memory, system["os"], python, system["pytorch_version"], system["comfyui_version"])
