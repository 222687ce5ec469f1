"""Which build of PyTorch fits, for drivers and GPUs that this machine lacks, and against an index on loopback."""

import ctypes
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

from kiv_engine import torch_build
from kiv_engine.torch_build import Build, Nvidia, fitting_build, read_nvidia, wheel_bytes


@pytest.mark.parametrize(
    ("name", "cuda", "capability", "tag"),
    [
        ("RTX 4070", (12, 4), (8, 9), "cu126"),
        ("RTX 4070", (13, 1), (8, 9), "cu130"),
        ("GTX 1080", (13, 0), (6, 1), "cu126"),
        ("RTX 5090", (12, 8), (12, 0), "cpu"),
        ("RTX 5090", (13, 0), (12, 0), "cu130"),
        ("GTX 680", (13, 0), (3, 0), "cpu"),
        ("GTX 980", (11, 8), (5, 2), "cpu"),
        ("", (), None, "cpu"),
        ("RTX of tomorrow", (13, 0), None, "cu130"),
    ],
)
def test_driver_and_gpu_decide(name: str, cuda: tuple[int, ...], capability: tuple[int, int] | None, tag: str) -> None:
    nvidia = Nvidia(cuda, (capability,) if capability else (), name)
    for system in ("linux", "win32"):
        assert fitting_build(nvidia, system).tag == tag
    assert fitting_build(nvidia, "darwin").tag == "cpu"


def test_pypi_has_one_of_the_builds_of_each_system() -> None:
    assert Build((13, 0), "linux").index == ""
    assert Build((), "win32").index == ""
    assert Build((), "linux").index == "https://download.pytorch.org/whl/cpu"
    assert Build((12, 6), "win32").index == "https://download.pytorch.org/whl/cu126"
    for system, cuda in torch_build.ON_PYPI.items():
        assert Build(cuda, system).measured_bytes


class FakeDriver:
    """NVIDIA's management library with two GPUs, called as ctypes calls it."""

    def __init__(self, problem: int = 0) -> None:
        self.problem, self.open = problem, False
        self.gpus = [(b"NVIDIA H200", (9, 0)), (b"Tesla P4", (6, 1))]

    def nvmlInit_v2(self) -> int:
        self.open = not self.problem
        return self.problem

    def nvmlShutdown(self) -> int:
        self.open = False
        return 0

    def nvmlSystemGetCudaDriverVersion(self, version: "ctypes._Pointer[ctypes.c_int]") -> int:
        version._obj.value = 12_040
        return 0

    def nvmlDeviceGetCount_v2(self, count: "ctypes._Pointer[ctypes.c_uint]") -> int:
        count._obj.value = len(self.gpus)
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: ctypes.c_uint, device: "ctypes._Pointer[ctypes.c_void_p]") -> int:
        device._obj.value = index.value + 1
        return 0

    def nvmlDeviceGetName(self, device: ctypes.c_void_p, name: "ctypes.Array[ctypes.c_char]", _: ctypes.c_uint) -> int:
        name.value = self.gpus[(device.value or 0) - 1][0]
        return 0

    def nvmlDeviceGetCudaComputeCapability(
        self, device: ctypes.c_void_p, major: "ctypes._Pointer[ctypes.c_int]", minor: "ctypes._Pointer[ctypes.c_int]"
    ) -> int:
        major._obj.value, minor._obj.value = self.gpus[(device.value or 0) - 1][1]
        return 0


def test_the_driver_is_asked_by_its_own_library(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = FakeDriver()
    monkeypatch.setattr(torch_build, "_management_library", lambda: driver)
    assert read_nvidia() == Nvidia((12, 4), ((9, 0), (6, 1)), "NVIDIA H200")
    assert not driver.open
    driver.gpus = []
    assert read_nvidia() == Nvidia()
    monkeypatch.setattr(torch_build, "_management_library", lambda: FakeDriver(problem=9))
    assert read_nvidia() == Nvidia()
    monkeypatch.setattr(torch_build, "_management_library", lambda: None)
    assert read_nvidia() == Nvidia()


class Index(BaseHTTPRequestHandler):
    """A page of wheels, as PyTorch's index has it."""

    wheels: ClassVar[dict[str, int]] = {}

    def log_message(self, *_: object) -> None:
        """Silence."""

    def do_GET(self) -> None:
        page = "".join(f'<a href="/whl/cpu/{name.replace("+", "%2B")}#sha256=0">{name}</a>' for name in self.wheels)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(page.encode())

    def do_HEAD(self) -> None:
        name = self.path.rpartition("/")[2].replace("%2B", "+")
        self.send_response(200 if name in self.wheels else 404)
        self.send_header("Content-Length", str(self.wheels.get(name, 0)))
        self.end_headers()


@pytest.fixture
def index() -> Iterator[str]:
    python = "cp{}{}".format(*sys.version_info[:2])
    Index.wheels = {
        f"torch-2.13.0+cpu-{python}-{python}-manylinux_2_28_aarch64.whl": 5,
        f"torch-2.13.0+cpu-{python}-{python}-manylinux_2_28_x86_64.whl": 191_794_682,
        f"torch-2.13.0+cpu-{python}-{python}-win_amd64.whl": 7,
    }
    with HTTPServer(("127.0.0.1", 0), Index) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/whl/cpu"
        server.shutdown()
        thread.join()


def test_an_index_tells_the_size_of_its_wheel(index: str) -> None:
    assert wheel_bytes(Build((), "linux"), "2.13.0", index) == 191_794_682
    assert wheel_bytes(Build((), "win32"), "2.13.0", index) == 7
    assert wheel_bytes(Build((), "linux"), "2.13.1", index) is None
    assert wheel_bytes(Build((12, 6), "linux"), "2.13.0", index) is None


def test_an_index_that_cannot_be_reached_is_none() -> None:
    with HTTPServer(("127.0.0.1", 0), Index) as server:
        port = server.server_address[1]
    assert wheel_bytes(Build((), "linux"), "2.13.0", f"http://127.0.0.1:{port}") is None
