"""Many prompts from several clients in one ComfyUI server: all succeed, none mixes with another, memory stays put.

``make soak`` or ``make soak ARGS="--prompts 60"``.  Prompts are drawn from a pool and differ in architecture, size,
batch, guidance, sampler, preset and policy; a tenth is cancelled at a random moment.  Afterwards a fresh server runs
every distinct prompt once by itself, and each picture of the crowd is compared with the one made alone, by pixels.
``--quick`` only shows that all this runs: of a handful of prompts memory says nothing.
"""

import asyncio
import io
import json
import random
import sys
import time
from dataclasses import asdict, dataclass
from urllib.request import urlopen

import aiohttp
import bench
import psutil
from comfy_server import ComfyServer, Graph
from demo_graph import APPLY, LATENT, SAVE, demo_graph
from PIL import Image
from provision import running_host
from testbed.captions import CAPTIONS

CLIENTS, SETTLED, QUICK_SETTLED = 4, 50, 2  # memory is compared with that after the first so many prompts
CANCELLED, LATEST_CANCEL = 0.1, 1.5  # share of the prompts, and seconds
PAGES = 200  # at once
MOST_GROWTH, MOST_SECONDS = 0.02, 900

POLICY = "9"  # a node id that the demo's graph leaves free
POLICIES = ("dicache", "dicache_delta_minus", "fbcache", "easycache", "teacache", "taylorseer_1", "output_line")


@dataclass(frozen=True)
class Prompt:
    """One of the distinct prompts."""

    architecture: str
    width: int
    height: int
    frames: int
    batch: int
    cfg: float
    sampler: str
    steps: int
    seed: int
    caption: str
    preset: str
    policy: str

    @classmethod
    def drawn(cls, draw: random.Random, presets: list[str]) -> "Prompt":
        architecture = draw.choice(("flux", "flux", "hunyuan_video", "wan"))
        return cls(
            architecture,
            width=draw.choice((64, 96, 128) if architecture == "flux" else (32, 64)),
            height=draw.choice((64, 96) if architecture == "flux" else (32, 64)),
            frames=1 if architecture == "flux" else draw.choice((5, 9)),
            batch=draw.choice((1, 1, 2)),
            cfg=draw.choice((1.0, 3.0)),
            sampler=draw.choice(("euler", "euler_ancestral", "heun", "dpmpp_2m", "uni_pc")),
            steps=draw.randint(9, 12),
            seed=draw.randrange(2**32),
            caption=draw.choice(CAPTIONS),
            preset=draw.choice(presets),
            policy=draw.choice(POLICIES) if draw.random() < 0.3 else "",
        )

    def graph(self) -> Graph:
        """The demo's graph with a latent of this size, and the policy's node where there is one."""
        sampler = {"seed": self.seed, "steps": self.steps, "cfg": self.cfg, "sampler_name": self.sampler}
        graph = demo_graph(self.caption, self.architecture, **sampler)
        graph[APPLY]["inputs"]["preset"] = self.preset
        size = {"width": self.width, "height": self.height, "batch_size": self.batch}
        graph[LATENT] = {"class_type": "EmptySD3LatentImage", "inputs": size}
        if self.architecture != "flux":
            graph[LATENT] = {"class_type": "EmptyHunyuanLatentVideo", "inputs": size | {"length": self.frames}}
        if self.policy:
            policy = {"policy": self.policy, "target": "", "threshold": -1.0, "warmup_steps": -1}
            graph[POLICY] = {"class_type": "DiCachePolicy", "inputs": policy}
            graph[APPLY]["inputs"]["policy"] = [POLICY, 0]
        return graph


@dataclass
class Outcome:
    """What became of one queued prompt: "success", "cancelled" or "error", and its pixels."""

    prompt: Prompt
    status: str
    seconds: float
    pixels: bytes = b""
    message: str = ""


class Client:
    """A browser tab, as far as the server can tell: it listens, queues, cancels and fetches pictures."""

    def __init__(self, url: str, number: int, draw: random.Random) -> None:
        self.url, self.name, self.draw = url, f"soak-{number}", draw
        self.cells = ""  # one letter per step of every run it heard the end of

    async def work(self, queue: "asyncio.Queue[tuple[Prompt, bool]]") -> list[Outcome]:
        """Take prompts until there are none left."""
        async with aiohttp.ClientSession(self.url) as session:
            async with session.ws_connect(f"/ws?clientId={self.name}", max_msg_size=0) as socket:
                listener = asyncio.create_task(self._listen(socket))
                outcomes = []
                while not queue.empty():
                    prompt, cancel = queue.get_nowait()
                    outcomes.append(await self._one(session, prompt, cancel))
                listener.cancel()
                return outcomes

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type == aiohttp.WSMsgType.TEXT and '"dicache.step"' in message.data:
                step = json.loads(message.data)["data"]
                self.cells += step["cells"] if step["finished"] else ""

    async def _one(self, session: aiohttp.ClientSession, prompt: Prompt, cancel: bool) -> Outcome:
        begin = time.monotonic()
        async with session.post("/prompt", json={"prompt": prompt.graph(), "client_id": self.name}) as answer:
            reply = await answer.json()
        if "prompt_id" not in reply:
            return Outcome(prompt, "error", 0.0, message=json.dumps(reply)[:400])
        identity = reply["prompt_id"]
        if cancel:
            await asyncio.sleep(self.draw.uniform(0.0, LATEST_CANCEL))
            await session.post("/queue", json={"delete": [identity]})
            await session.post("/interrupt", json={"prompt_id": identity})
        history = await self._finished(session, identity)
        seconds = time.monotonic() - begin
        if history is None:
            return Outcome(prompt, "cancelled", seconds)
        messages = dict(history["status"]["messages"])
        if "execution_interrupted" in messages:
            return Outcome(prompt, "cancelled" if cancel else "error", seconds, message="interrupted by somebody else")
        if history["status"]["status_str"] != "success":
            return Outcome(prompt, "error", seconds, message=str(messages.get("execution_error"))[:400])
        images = history["outputs"][SAVE]["images"]
        return Outcome(prompt, "success", seconds, b"".join([await self._pixels(session, i) for i in images]))

    async def _finished(self, session: aiohttp.ClientSession, identity: str) -> dict | None:
        """The prompt's history; ``None`` if it was taken out of the queue before it ran."""
        while True:
            async with session.get("/queue") as answer:
                queue = await answer.json()
            waiting = {entry[1] for entry in (*queue["queue_running"], *queue["queue_pending"])}
            async with session.get(f"/history/{identity}") as answer:
                history = await answer.json()
            if identity in history or identity not in waiting:
                return history.get(identity)
            await asyncio.sleep(0.05)

    @staticmethod
    async def _pixels(session: aiohttp.ClientSession, entry: dict) -> bytes:
        async with session.get("/view", params={k: entry[k] for k in ("filename", "subfolder", "type")}) as answer:
            return Image.open(io.BytesIO(await answer.read())).tobytes()


async def crowd(url: str, jobs: list[tuple[Prompt, bool]], clients: int, draw: random.Random) -> tuple[list, str]:
    """All outcomes, and the cells of the live views: one letter per step, "r" for a reused one."""
    queue: asyncio.Queue = asyncio.Queue()
    for job in jobs:
        queue.put_nowait(job)
    tabs = [Client(url, n, random.Random(draw.random())) for n in range(clients)]
    done = await asyncio.gather(*[tab.work(queue) for tab in tabs])
    return [outcome for part in done for outcome in part], "".join(tab.cells for tab in tabs)


def gauge(server: ComfyServer) -> dict[str, float]:
    """Resident megabytes and threads of the idle server.

    Its web server has a pool of threads for reading files, which grows up to a limit with the load: it is filled first.
    """
    asyncio.run(_pages(server.url, PAGES))
    time.sleep(1)
    process = psutil.Process(server.process.pid)
    return {"resident_mb": process.memory_info().rss / 2**20, "threads": process.num_threads()}


async def _pages(url: str, count: int) -> None:
    async def page(session: aiohttp.ClientSession) -> None:
        async with session.get("/") as answer:
            await answer.read()

    async with aiohttp.ClientSession(url) as session:
        await asyncio.gather(*[page(session) for _ in range(count)])


def drawn(url: str, prompts: int, distinct: int, draw: random.Random) -> list[tuple[Prompt, bool]]:
    """Prompts from a pool of ``distinct`` ones, and which of them are cancelled."""
    with urlopen(f"{url}/object_info/DiCacheApply", timeout=30) as answer:
        presets = json.load(answer)["DiCacheApply"]["input"]["optional"]["preset"][1]["options"]
    presets.remove("tuned")  # needs a tuning first
    pool = [Prompt.drawn(draw, presets) for _ in range(distinct)]
    cancelled = set(draw.sample(range(prompts), round(prompts * CANCELLED)))
    return [(draw.choice(pool), i in cancelled) for i in range(prompts)]


def different(url: str, outcomes: list[Outcome]) -> list[Prompt]:
    """Prompts whose result is not the one of a single run: each distinct one now runs by itself."""
    single: dict[Prompt, bytes] = {}
    for prompt in {o.prompt: None for o in outcomes if o.status == "success"}:
        (alone,), _ = asyncio.run(crowd(url, [(prompt, False)], 1, random.Random(0)))
        if alone.status != "success":
            raise RuntimeError(f"{prompt} fails by itself: {alone.message}")
        single[prompt] = alone.pixels
    return [o.prompt for o in outcomes if o.status == "success" and o.pixels != single[o.prompt]]


def soak(prompts: int, distinct: int, seed: int, settled: int = SETTLED) -> dict:
    """Everything that ``main`` shows and judges."""
    draw, host, begin = random.Random(seed), running_host(), time.monotonic()
    with ComfyServer(host) as server:
        jobs = drawn(server.url, prompts, distinct, draw)
        first, cells = asyncio.run(crowd(server.url, jobs[:settled], CLIENTS, draw))
        before = gauge(server)
        rest, more = asyncio.run(crowd(server.url, jobs[settled:], CLIENTS, draw))
        after = gauge(server)
        traceback = "Traceback (most recent call last)" in server.log
    outcomes, crowd_seconds = first + rest, time.monotonic() - begin
    with ComfyServer(host) as server:  # one that knows of nothing else
        wrong = different(server.url, outcomes)
    return {
        "comfyui": host.version,
        "prompts": prompts,
        "distinct": len({prompt for prompt, _ in jobs}),
        "clients": CLIENTS,
        "seed": seed,
        "succeeded": sum(o.status == "success" for o in outcomes),
        "to_be_cancelled": sum(cancel for _, cancel in jobs),
        "cancelled": sum(o.status == "cancelled" for o in outcomes),
        "failed": [f"{asdict(o.prompt)}: {o.message}" for o in outcomes if o.status == "error"],
        "different": [asdict(prompt) for prompt in wrong],
        "steps": len(cells + more),
        "reused": (cells + more).count("r"),
        "traceback_in_the_log": traceback,
        "settled_after": settled,
        "before": before,
        "after": after,
        "growth": after["resident_mb"] / before["resident_mb"] - 1,
        "crowd_seconds": round(crowd_seconds, 1),
        "seconds": round(time.monotonic() - begin, 1),
    }


def complaints(found: dict) -> list[str]:
    """What did not hold."""
    long = found["settled_after"] >= SETTLED
    more = found["after"]["threads"] - found["before"]["threads"]
    first = {name: next(iter(found[name]), "") for name in ("failed", "different")}
    said = {
        f"{len(found['failed'])} prompts failed, the first: {first['failed']}": found["failed"],
        f"{len(found['different'])} results are not those of a single run: {first['different']}": found["different"],
        f"resident memory grew by {found['growth']:.1%}": long and found["growth"] > MOST_GROWTH,
        f"{more} threads more than before": long and more > 0,
        "the server's log has a traceback": found["traceback_in_the_log"],
        f"it took {found['seconds']:.0f} s, {MOST_SECONDS} is the most": found["seconds"] > MOST_SECONDS,
        "no step was reused, or none was heard of: nothing is shown": not found["reused"],
    }
    return [text for text, happened in said.items() if happened]


def shown(found: dict) -> str:
    before, after = found["before"], found["after"]
    counts = f"{found['succeeded']}, {found['cancelled']}, {len(found['failed'])}"
    growth = f"{before['resident_mb']:.0f} MB, {after['resident_mb']:.0f} MB ({found['growth']:+.2%})"
    rows = [
        ("prompts", f"{found['prompts']}, {found['distinct']} distinct ones"),
        ("succeeded, cancelled, failed", counts),
        ("cancelled too late", found["to_be_cancelled"] - found["cancelled"]),
        ("equal to their own single run", found["succeeded"] - len(found["different"])),
        (f"resident after {found['settled_after']} and {found['prompts']}", growth),
        ("threads", f"{before['threads']}, {after['threads']}"),
        ("steps, reused", f"{found['steps']}, {found['reused']}"),
        ("seconds, with single runs", f"{found['crowd_seconds']:.0f}, {found['seconds']:.0f}"),
    ]
    return bench.table((f"ComfyUI {found['comfyui']}", f"{found['clients']} clients"), rows)


def main() -> int:
    parser = bench.parser(__doc__)
    parser.add_argument("--prompts", type=int, default=300, help=f"more than {SETTLED}")
    parser.add_argument("--distinct", type=int, default=300, help="size of the pool that they are drawn from")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.quick:
        vars(options).update(prompts=4, distinct=2)
    elif options.prompts <= SETTLED:
        parser.error(f"--prompts {options.prompts}: write more than {SETTLED}, as memory is compared with that point")
    settled = QUICK_SETTLED if options.quick else SETTLED
    found = soak(options.prompts, options.distinct, options.seed, settled)
    bench.write("soak.json", found, options.quick)
    print(shown(found))
    for complaint in complaints(found):
        print(f"did not hold: {complaint}", file=sys.stderr)
    return 1 if complaints(found) else 0


if __name__ == "__main__":
    sys.exit(main())
