"""Choose the build of PyTorch before anything is installed: prints the arguments that pip needs for it, if any.

Run by setup_venv.sh and kiv.bat with .venv's Python, which has nothing but its own library yet. KIV_TORCH=cpu, cuda or
default (whatever pip finds) decides without a question. Talks on stderr.
"""

import importlib.metadata
import importlib.util
import os
import re
import sys
import threading
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]
ANSWER_S = 60.0


def main() -> int:
    """Print pip's arguments; the exit code."""
    wish = os.environ.get("KIV_TORCH", "").strip().lower()
    if wish not in ("", "cpu", "cuda", "default"):
        say(f"KIV_TORCH is {wish!r}; it can be cpu, cuda or default.")
        return 2
    builds = load_builds()
    version = wanted_version()
    if wish == "default" or not builds.has_choice() or installed_version() == version:
        return 0
    print(pip_arguments(builds, version, wish))
    return 0


def load_builds() -> ModuleType:
    """kiv_engine/torch_build.py by itself: the package around it needs what is not there yet."""
    spec = importlib.util.spec_from_file_location("torch_build", ROOT / "kiv_engine" / "torch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["torch_build"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def wanted_version() -> str:
    """PyTorch's version in constraints.txt."""
    found = re.search(r"^torch==(\S+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    return found[1]


def installed_version() -> str:
    """PyTorch's version here without its build, "" where it is not installed."""
    try:
        return importlib.metadata.version("torch").partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return ""


def pip_arguments(builds: ModuleType, version: str, wish: str) -> str:
    """Choose, say so, and return what pip needs to find it."""
    nvidia = builds.read_nvidia()
    build = builds.Build(()) if wish == "cpu" else builds.fitting_build(nvidia)
    if wish == "cuda" and not build.cuda:
        build = builds.Build(builds.NEWEST_CUDA)
    if nvidia.name and not build.cuda and not wish:
        say(builds.why_none_fits(nvidia))
    size = size_of(builds, build, version)
    if build.cuda and not wish and size:
        question = f"PyTorch {build} can use it: {size} to download. Without, models run on the CPU. Get it?"
        if not agrees(f"This PC has an NVIDIA GPU ({nvidia.name}). {question}"):
            build = builds.Build(())
            size = size_of(builds, build, version)
    if not size:
        say(f"The index with PyTorch {build} cannot be reached, so that pip takes what it finds.")
        if sys.platform == "linux":
            say("That of PyPI brings CUDA along: 2.7 GB. Ctrl+C stops it; './kiv doctor --fix' changes it later.")
        return ""
    say(f"PyTorch {build}: {size} to download. './kiv doctor --fix' changes it later.")
    return f"--extra-index-url {build.index}" if build.index else ""


def size_of(builds: ModuleType, build: object, version: str) -> str:
    """What would be downloaded, as text; "" where the build's index cannot be reached."""
    known = build.measured_bytes  # type: ignore[attr-defined]
    if not build.index:  # type: ignore[attr-defined]
        return builds.size_text(known)
    wheel = builds.wheel_bytes(build, version)
    if wheel is None:
        return ""
    more = " and CUDA's libraries" if sys.platform == "linux" and build.cuda else ""  # type: ignore[attr-defined]
    return builds.size_text(wheel) + more if wheel else "an unknown size"


def agrees(question: str) -> bool:
    """Ask where somebody can answer; no answer, and nobody there, are a yes."""
    if not sys.stdin.isatty():
        return True
    say(f"{question} [Y/n] (yes in {ANSWER_S:.0f} s) ", end="")
    answer: list[bytes] = []
    # Not input(): a thread that holds the lock of sys.stdin would abort the interpreter's end.
    reader = threading.Thread(target=lambda: answer.append(os.read(0, 100)), daemon=True)
    reader.start()
    reader.join(ANSWER_S)
    if not answer:
        print(file=sys.stderr)
    return not (answer and answer[0].strip().lower().startswith(b"n"))


def say(text: str, end: str = "\n") -> None:
    """On stderr, as the set-up speaks."""
    print(f"kiv: {text}", end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        code = main()
    except KeyboardInterrupt:
        code = 130  # the shell says that it was stopped
    sys.stdout.flush()
    os._exit(code)  # the thread that waits for an answer is left behind
