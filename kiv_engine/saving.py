"""Writing a saved context, checkpoint by checkpoint, while its documents are read."""

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save as to_safetensors

from kiv_engine.blocks import BlockFile, BlockWriter, LinkedWriter
from kiv_engine.cache import CacheSnapshot, KIVCache
from kiv_engine.config import KIVConfig
from kiv_engine.context_folder import (
    FORMAT,
    LOCK,
    MANIFEST,
    OWN_FILE,
    columns,
    disk_errors,
    fingerprint,
    locked,
    with_checksum,
)
from kiv_engine.errors import CapacityError, SavedContextError, said
from kiv_engine.files import write_whole
from kiv_engine.layer import KIVLayer
from kiv_engine.layer_state import state_to_json
from kiv_engine.loader import LoadedModel
from kiv_engine.passages import PlacedDocument
from kiv_engine.saved_context import SavedContext
from kiv_engine.store import RowTable

OVERLAY_TOKENS: Final = 65_536
"""Tokens that a chat can add behind the saved ones before it needs another piece of memory."""


@dataclass(frozen=True)
class Progress:
    """What of a context is written at a checkpoint.

    Attributes:
        tokens: ids of everything that was queued, read or not.
        num_tokens: how many of them the cache holds.
        snapshots: of the layers that forget, ascending; the last is at num_tokens, if there are such layers.
    """

    tokens: torch.Tensor
    num_tokens: int
    planned_tokens: int
    documents: Sequence[PlacedDocument]
    snapshots: Sequence[CacheSnapshot]

    @property
    def complete(self) -> bool:
        """Whether everything is read."""
        return self.num_tokens == len(self.tokens)


class ContextWriter:
    """Writes one folder, checkpoint by checkpoint. Raises SavedContextError if it cannot or must not be written."""

    def __init__(
        self, folder: Path, loaded: LoadedModel, config: KIVConfig, system: str | None, found: "SavedContext | None"
    ) -> None:
        """`found`: what the folder holds of the same context, to go on from."""
        self.folder = folder
        self._facts = {"fingerprint": fingerprint(loaded), "config": _config_to_json(config), "system": system}
        self._writers: dict[str, BlockWriter] = {}
        growing = {name: file for name, file in found.files.items() if name != found.manifest["state"]} if found else {}
        self._known = growing
        self._generation = found.generation if found else 0
        self._last = time.monotonic()
        self._disk = ThreadPoolExecutor(1, "kiv-save")
        self._pending: Future[None] | None = None
        self._appends: list[tuple[BlockWriter, torch.Tensor]] = []
        """What the next commit writes, in this order."""
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            if found is None:
                _beginnings_in(folder)  # a foreign folder does not get a lock either
            self._lock = locked(folder)
            try:
                if found is None:
                    for path in _beginnings_in(folder):
                        path.unlink()
                elif SavedContext.open(folder).generation != found.generation:
                    raise SavedContextError(
                        said("{0} was written by another program meanwhile; open it again.", folder)
                    )
            except BaseException:
                self._lock.release()
                raise

    @property
    def seconds_since(self) -> float:
        """Since the last checkpoint."""
        return time.monotonic() - self._last

    def checkpoint(self, cache: KIVCache, progress: Progress, *, wait: bool = True) -> None:
        """Write what is new, and then the manifest that makes it count.

        A thread does it: rows and codes that are written do not change unless the context goes back, which must
        `settle` this first. Without `wait`, what the disk refuses is raised by the next call; the last waits.
        """
        self._finish()
        self._appends = []  # of a checkpoint that failed half way
        with disk_errors(self.folder):
            self._write_documents(progress)
            layers = {layer.geometry.index: layer for layer in cache.growing_layers if layer.is_initialized}
            for number, layer in layers.items():
                self._write_rows(number, layer)
                self._write_codes(number, layer)
            manifest, state = self._taken_down(progress, layers)
            self._pending = self._disk.submit(
                self._commit, manifest, state, self._appends, dict(self._writers), dict(self._known)
            )
            if wait or progress.complete:
                self._finish()
            if progress.complete:
                for layer in layers.values():
                    self._make_room(layer)
        self._last = time.monotonic()

    def settle(self) -> None:
        """Return once nothing is being written; what became of it is told by the next checkpoint."""
        if self._pending is not None:
            wait_for([self._pending])

    def _finish(self) -> None:
        """Wait for the checkpoint that is on its way to the disk, and raise what became of it."""
        pending, self._pending = self._pending, None
        if pending is not None:
            with disk_errors(self.folder):
                pending.result()

    def _make_room(self, layer: KIVLayer) -> None:
        """Let the mapped files be longer than what they hold, so that a chat's tokens lie behind them in one piece."""
        for kind, table in (("keys", layer.store.keys), ("values", layer.store.values)):
            name = f"layer{layer.geometry.index}.{kind}"
            if isinstance(self._writer(name), LinkedWriter):
                table.detach()
            for suffix, size in columns(table):
                self._writer(name + suffix).make_room(OVERLAY_TOKENS * size)

    def _writer(self, name: str) -> BlockWriter:
        if name not in self._writers:
            self._writers[name] = BlockWriter(self.folder / name, self._known.pop(name, None))
        return self._writers[name]

    def _write_new(self, name: str, rows: torch.Tensor) -> None:
        """Bring a file to the rows of a tensor that grows at its end, and now and then shrinks there."""
        writer = self._writer(name)
        row_bytes = rows[:1].nbytes or 1
        writer.cut(len(rows) * row_bytes)
        self._appends.append((writer, rows[writer.length // row_bytes :].cpu().contiguous()))

    def _write_documents(self, progress: Progress) -> None:
        self._write_new("tokens", progress.tokens)
        for number, placed in enumerate(progress.documents):
            name = f"document{number}"
            if not self._writer(f"{name}.text").length:
                document = placed.tokens.document
                text = as_bytes(document.text.encode("utf-8", "surrogatepass"))
                self._appends.append((self._writer(f"{name}.text"), text))
                self._appends.append((self._writer(f"{name}.places"), as_bytes(document.places.to_bytes())))
                self._appends.append((self._writer(f"{name}.starts"), placed.tokens.starts))
                self._appends.append((self._writer(f"{name}.ends"), placed.tokens.ends))

    def _is_new(self, name: str) -> bool:
        return name not in self._writers and name not in self._known

    def _link(self, name: str, table: RowTable) -> None:
        """Take mapped files over by a second name instead of copying them, if they are on the same disk."""
        for suffix, path in zip(("", ".scales"), table.mapped_files, strict=False):
            if self._is_new(name + suffix):
                with suppress(OSError):
                    self._writers[name + suffix] = LinkedWriter(self.folder / (name + suffix), path)

    def _write_rows(self, number: int, layer: KIVLayer) -> None:
        for kind, table in (("keys", layer.store.keys), ("values", layer.store.values)):
            name, count = f"layer{number}.{kind}", table.num_tokens
            self._link(name, table)
            writers = [self._writer(name + suffix) for suffix, _ in columns(table)]
            sizes = [size for _, size in columns(table)]
            for writer, size in zip(writers, sizes, strict=True):
                writer.cut(count * size)
            for parts in table.stored(writers[0].length // sizes[0], count):
                self._appends += zip(writers, parts, strict=True)

    def _write_codes(self, number: int, layer: KIVLayer) -> None:
        if not layer.index.ready:
            return
        for name, whole in layer.index.codes(0, layer.index.num_tokens).items():
            self._write_new(f"layer{number}.{name}", whole)

    def _taken_down(self, progress: Progress, layers: dict[int, KIVLayer]) -> tuple[dict[str, Any], bytes]:
        """The manifest, without its files, and the content of its state's file, as things are now."""
        self._generation += 1
        tensors: dict[str, torch.Tensor] = {}
        for number, layer in layers.items():
            hot = layer.hot
            keys, values = hot.read(0, hot.num_hot)
            tensors[f"layer{number}.hot_keys"] = torch.cat((hot.keys[:, : hot.num_sinks], keys), 1)
            tensors[f"layer{number}.hot_values"] = torch.cat((hot.values[:, : hot.num_sinks], values), 1)
            tensors |= {f"layer{number}.index.{name}": part for name, part in layer.index.maps().items()}
        snapshots = [
            {
                "num_tokens": snapshot.num_tokens,
                "layers": [
                    [index, state_to_json(state, f"snapshot{number}.layer{index}", tensors)]
                    for index, state in snapshot.layers.items()
                ],
            }
            for number, snapshot in enumerate(progress.snapshots)
        ]
        manifest = {
            "format": FORMAT,
            "generation": self._generation,
            "complete": progress.complete,
            "saved": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "num_tokens": progress.num_tokens,
            "planned_tokens": progress.planned_tokens,
            "cold_tokens": {str(number): layer.store.num_tokens for number, layer in layers.items()},
            "documents": [
                {"name": placed.tokens.document.name, "start": placed.start} for placed in progress.documents
            ],
            "snapshots": snapshots,
            "state": f"state-{self._generation}.safetensors",
            **self._facts,
        }
        return manifest, to_safetensors({key: part.cpu().contiguous() for key, part in tensors.items()})

    def _commit(
        self,
        manifest: dict[str, Any],
        state: bytes,
        appends: list[tuple[BlockWriter, torch.Tensor]],
        writers: dict[str, BlockWriter],
        known: dict[str, BlockFile],
    ) -> None:
        """Bring to the disk what is new, the state, and then the manifest. Runs beside further reading."""
        for writer, rows in appends:
            writer.append(rows)
        for writer in writers.values():
            writer.sync()
        name = manifest["state"]
        written = {key: writer.written for key, writer in writers.items()}
        files = {**known, **written, name: _checked_file(self.folder / name, state)}
        manifest = {**manifest, "files": {key: file.to_json() for key, file in files.items()}}
        write_whole(self.folder / MANIFEST, with_checksum(manifest))
        for old in self.folder.glob("state-*.safetensors"):
            if old.name != name:
                old.unlink()

    def close(self) -> None:
        """Close the files and let others write. Without a single checkpoint nothing stays that only fills the disk."""
        with suppress(CapacityError, SavedContextError):  # then the checkpoint before counts
            self._finish()
        self._disk.shutdown()
        for writer in self._writers.values():
            writer.close()
        self._writers = {}
        if not SavedContext.exists(self.folder):
            with suppress(OSError, SavedContextError):
                for path in _beginnings_in(self.folder):
                    path.unlink()
        self._lock.release()


def _beginnings_in(folder: Path) -> list[Path]:
    """What a writer left that was killed before its first manifest. Raises SavedContextError if anything else is there.

    The lock tells such a folder from one in which somebody happens to keep a file of a name like ours.
    """
    names = {path.name for path in folder.iterdir()}
    others = names - {LOCK}
    if others and (LOCK not in names or MANIFEST in names or not all(map(OWN_FILE.fullmatch, others))):
        raise SavedContextError(said("{0} is not empty; choose another folder, or remove what is in it.", folder))
    return [folder / name for name in others]


def _config_to_json(config: KIVConfig) -> dict[str, Any]:
    return asdict(replace(config, store="ram"))


def as_bytes(data: bytes) -> torch.Tensor:
    """Bytes as BlockWriter takes them."""
    return torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)


def _checked_file(path: Path, data: bytes) -> BlockFile:
    with BlockWriter(path) as writer:
        writer.append(as_bytes(data))
        writer.sync()
        return writer.written
