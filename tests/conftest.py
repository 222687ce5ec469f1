"""What holds for every test: fixed seeds, two cores, no network, no thread left behind, no skip without a reason."""

import gc
import os
import random
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

import pytest

# Torch and the tokenizers read these when they are imported, in child processes too. Two workers share the two cores.
THREADS = "1" if "PYTEST_XDIST_WORKER" in os.environ else "2"
for _library in ("OMP", "MKL", "RAYON"):
    os.environ[f"{_library}_NUM_THREADS"] = THREADS
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# What programs keep for their user they keep here, and are asked for in child processes too.
_data = tempfile.TemporaryDirectory(prefix="kiv-tests-")
os.environ["XDG_DATA_HOME"] = _data.name
os.environ["KIV_MODELS"] = ""  # HuggingFace's cache, whatever was chosen here
os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"  # nobody's own token is for a test

# By class name, with the reason why it may outlive a test.
LASTING_THREADS = {
    "TMonitor",  # tqdm starts one with its first progress bar and keeps it until the process ends
    "_DummyThread",  # a thread of torch's OpenMP team that has run a job of the index's scan
}
LASTING_NAMES = ("kiv-scan-",)  # by how a name starts: the workers of the index's scan, idle between two searches
JOIN_TIMEOUT_S = 2.0


LOOPBACK = ("127.0.0.1", "::1", "localhost", "")
_far: list[str] = []


def _refuse_far_connections(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: Python's own sockets tell it of every name that is looked up, and every address they go to."""
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto", "socket.sendmsg") and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    name = host.decode() if isinstance(host, bytes) else host or ""
    if name not in LOOPBACK:
        _far.append(f"{event} {name}")
        raise ConnectionRefusedError(f"a test wants to reach {name}")


sys.addaudithook(_refuse_far_connections)


@pytest.fixture(autouse=True)
def far_connections() -> Iterator[list[str]]:
    """Fail a test in which this process wants to reach another computer, even where that is made light of."""
    yield _far
    wanted = list(_far)
    _far.clear()
    assert not wanted, f"the test wanted to reach other computers: {', '.join(wanted)}"


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's library is not told that there is no network, so that it would ask, and be seen to."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def pytest_collection_finish() -> None:
    """What was imported stays: no collection, of the many that follow, needs to go through it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_stray_threads() -> Iterator[None]:
    """Fail a test that leaves a thread running, daemon or not: the next test would share its state with it."""
    before = set(threading.enumerate())
    yield
    started = [thread for thread in threading.enumerate() if thread not in before]
    mortal = [thread for thread in started if not thread.name.startswith(LASTING_NAMES)]
    suspects = [thread for thread in mortal if type(thread).__name__ not in LASTING_THREADS]
    for thread in suspects:
        thread.join(JOIN_TIMEOUT_S)
    stray = [thread for thread in suspects if thread.is_alive()]
    assert not stray, f"the test left threads running: {', '.join(map(repr, stray))}"


@pytest.fixture(autouse=True)
def _ctrl_c_interrupts() -> Iterator[None]:
    """As in a terminal, in child processes too; a shell starts what runs in the background with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def _fixed_seeds() -> None:
    """Seed what is loaded already; tests without torch shall not pay for its import."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For models so small that a second thread only waits for the first."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    return _fail_if_skipped_in_silence(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    report = yield
    return _fail_if_skipped_in_silence(report)


def _fail_if_skipped_in_silence(report: pytest.TestReport | pytest.CollectReport) -> object:
    if not report.skipped or hasattr(report, "wasxfail"):
        return report
    _path, _line, message = report.longrepr
    if message.removeprefix("Skipped").strip(": ") in ("", "unconditional skip"):
        report.outcome = "failed"
        report.longrepr = "skipped without a written reason"
    return report
