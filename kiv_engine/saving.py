"""Saved contexts: a folder that holds what was read, so that it never has to be read again.

    manifest.json           what the rest must be, with checksums; written last, and replaced as a whole
    document0.text ...      the documents in UTF-8, where that stood in their files (document0.places), and the ranges
                            of their tokens (document0.starts, document0.ends)
    tokens                  the token ids of everything, read or not yet
    layer3.keys ...         rows of the cold store as they lie in memory, mapped when the folder is opened
    layer3.signs.0 ...      codes of the index, a file for each plane and KV head, read when the folder is opened
    state-7.safetensors     hot windows, the index's maps, and the layers that forget, at some lengths

A folder is written while its documents are read, with a checkpoint now and then; a reader that was killed goes on from
the last one. It never changes once it is complete: what a chat adds stays in its own memory.
"""

import errno
import hashlib
import json
import math
import re
import shutil
import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors

from kiv_engine.blocks import BlockFile, BlockWriter, LinkedWriter, MappedRows
from kiv_engine.cache import CacheSnapshot, KIVCache
from kiv_engine.config import KIVConfig
from kiv_engine.document import Document, TokenizedDocument
from kiv_engine.documents.places import Places
from kiv_engine.errors import CapacityError, ConfigError, DamagedContextError, SavedContextError
from kiv_engine.files import write_whole
from kiv_engine.layer import KIVLayer
from kiv_engine.loader import LoadedModel
from kiv_engine.passages import PlacedDocument
from kiv_engine.store import RowTable

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
LOCK: Final = "lock"
OVERLAY_TOKENS: Final = 65_536
"""Tokens that a chat can add behind the saved ones before it needs another piece of memory."""
SAMPLED_WEIGHTS: Final = 1_024


_OWN_FILE: Final = re.compile(
    r"manifest\.json(\.new)?|lock|tokens|document\d+\.(text|places|starts|ends)|state-\d+\.safetensors|"
    r"layer\d+\.((keys|values)(\.scales)?|(signs|factors|outer)\.\d+)"
)


def fingerprint(loaded: LoadedModel) -> dict[str, str]:
    """What must be the same when a context is opened: weights (a sample of each tensor), tokenizer and template."""
    weights = hashlib.sha256(json.dumps(loaded.model.config.to_diff_dict(), sort_keys=True, default=str).encode())
    for name, weight in loaded.model.state_dict().items():
        flat = weight.detach().flatten()
        some = flat[:: max(1, len(flat) // SAMPLED_WEIGHTS)].cpu().contiguous()
        weights.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        weights.update(some.view(torch.uint8).numpy().tobytes())
    tokenizer = loaded.tokenizer
    words = tokenizer.backend_tokenizer.to_str() + str(tokenizer.chat_template)
    return {"weights": weights.hexdigest(), "tokenizer": hashlib.sha256(words.encode()).hexdigest()}


# ---------------------------------------------------------------------------------------- the layers that forget


def state_to_json(state: dict[str, Any], prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    """A layer's attributes as JSON; its tensors go into `tensors` under names that begin with `prefix`."""
    return {"dict": [[key, _value_to_json(value, f"{prefix}.{key}", tensors)] for key, value in state.items()]}


def _value_to_json(value: Any, name: str, tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    if isinstance(value, torch.Tensor):
        tensors[name] = value.detach().cpu().contiguous()
        return {"tensor": name}
    if isinstance(value, dict):
        return state_to_json(value, name, tensors)
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, torch.device):
        return {"device": True}
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    raise SavedContextError(f"A layer of this model keeps a {type(value).__name__} ({name}), which cannot be saved.")


def value_from_json(entry: dict[str, Any], tensors: dict[str, torch.Tensor], device: torch.device) -> Any:
    """The inverse of `state_to_json`, with the tensors on a device."""
    if "tensor" in entry:
        return tensors[entry["tensor"]].to(device)
    if "dict" in entry:
        return {key: value_from_json(value, tensors, device) for key, value in entry["dict"]}
    if "dtype" in entry:
        return getattr(torch, entry["dtype"])
    return device if "device" in entry else entry["value"]


# ------------------------------------------------------------------------------------------------------- writing


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
        with _disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            if found is None:
                _beginnings_in(folder)  # a foreign folder does not get a lock either
            self._lock = _locked(folder)
            try:
                if found is None:
                    for path in _beginnings_in(folder):
                        path.unlink()
                elif SavedContext.open(folder).generation != found.generation:
                    raise SavedContextError(f"{folder} was written by another program meanwhile; open it again.")
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
        with _disk_errors(self.folder):
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
            with _disk_errors(self.folder):
                pending.result()

    def _make_room(self, layer: KIVLayer) -> None:
        """Let the mapped files be longer than what they hold, so that a chat's tokens lie behind them in one piece."""
        for kind, table in (("keys", layer.store.keys), ("values", layer.store.values)):
            name = f"layer{layer.geometry.index}.{kind}"
            if isinstance(self._writer(name), LinkedWriter):
                table.detach()
            for suffix, size in _columns(table):
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
            writers = [self._writer(name + suffix) for suffix, _ in _columns(table)]
            sizes = [size for _, size in _columns(table)]
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


def _locked(folder: Path) -> FileLock:
    """The folder's lock, held. Raises SavedContextError where another writer has it."""
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise SavedContextError(f"{folder} is being written by another program; choose another, or wait.") from None
    return lock


def _beginnings_in(folder: Path) -> list[Path]:
    """What a writer left that was killed before its first manifest. Raises SavedContextError if anything else is there.

    The lock tells such a folder from one in which somebody happens to keep a file of a name like ours.
    """
    names = {path.name for path in folder.iterdir()}
    others = names - {LOCK}
    if others and (LOCK not in names or MANIFEST in names or not all(map(_OWN_FILE.fullmatch, others))):
        raise SavedContextError(f"{folder} is not empty; choose another folder, or remove what is in it.")
    return [folder / name for name in others]


def _config_to_json(config: KIVConfig) -> dict[str, Any]:
    return asdict(replace(config, store="ram"))


def _columns(table: RowTable) -> list[tuple[str, int]]:
    """Of each file of a table, the end of its name, and the bytes of one token in it."""
    return [
        (suffix, math.prod(shape) * dtype.itemsize)
        for suffix, (shape, dtype) in zip(("", ".scales"), table.stored_as, strict=False)
    ]


def as_bytes(data: bytes) -> torch.Tensor:
    """Bytes as BlockWriter takes them."""
    return torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)


def _checked_file(path: Path, data: bytes) -> BlockFile:
    with BlockWriter(path) as writer:
        writer.append(as_bytes(data))
        writer.sync()
        return writer.written


def with_checksum(manifest: dict[str, Any]) -> bytes:
    """The manifest's file."""
    return json.dumps({"checksum": _checksum(manifest), "context": manifest}).encode()


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Say what the disk refuses."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(folder).free
            raise CapacityError(f"The disk of {folder} is full ({free:,} bytes free); make room and go on.") from error
        raise SavedContextError(f"{folder} cannot be written ({error.strerror}); choose another folder.") from error


# ------------------------------------------------------------------------------------------------------- opening


@dataclass(frozen=True)
class SavedContext:
    """A folder's manifest. What cannot be used raises SavedContextError, what is damaged DamagedContextError.

    Attributes:
        files: what each of the files must be.
    """

    folder: Path
    manifest: dict[str, Any]
    files: dict[str, BlockFile]

    @classmethod
    def open(cls, folder: str | Path) -> "SavedContext":
        """Read the manifest and check it."""
        folder = Path(folder)
        try:
            content = json.loads((folder / MANIFEST).read_bytes())
        except FileNotFoundError:
            what = "holds no saved context" if folder.is_dir() else "does not exist"
            raise SavedContextError(f"{folder} {what}; name a folder that 'kiv ask --save' wrote.") from None
        except OSError as error:
            raise SavedContextError(f"{folder} cannot be read ({error.strerror}).") from error
        except (ValueError, RecursionError):
            raise DamagedContextError(f"{folder / MANIFEST} is damaged. Read the document again.") from None
        with _damage(folder / MANIFEST):
            manifest = content["context"]
            if content["checksum"] != _checksum(manifest):
                raise ValueError("checksum")
            if manifest["format"] != FORMAT:
                raise SavedContextError(
                    f"{folder} was written by another version of this program (format {manifest['format']}, not "
                    f"{FORMAT}); read the document again."
                )
            files = {_safe(name): BlockFile.from_json(entry) for name, entry in manifest["files"].items()}
            found = cls(folder, manifest, files)
            found._require()
        return found

    @staticmethod
    def exists(folder: str | Path) -> bool:
        """Whether there is a manifest, sound or not."""
        return (Path(folder) / MANIFEST).exists()

    @staticmethod
    def folders_in(parent: str | Path) -> list[Path]:
        """The folders in a folder, or itself, that hold a saved context, sound or not, by name."""
        parent = Path(parent)
        if not parent.is_dir():
            raise SavedContextError(f"{parent} is no folder; name the folder that holds saved contexts.")
        within = sorted(path for path in parent.iterdir() if path.is_dir())
        return [folder for folder in (parent, *within) if SavedContext.exists(folder)]

    @staticmethod
    def remove(folder: str | Path) -> int:
        """Delete a saved context's files, and the folder if nothing else is in it; the bytes they had.

        Raises SavedContextError if there is no manifest, so that no other folder is ever emptied.
        """
        folder = Path(folder)
        if not SavedContext.exists(folder):
            raise SavedContextError(f"{folder} holds no saved context; nothing was removed.")
        freed = 0
        with _disk_errors(folder), _locked(folder):
            mine = [path for path in folder.iterdir() if _OWN_FILE.fullmatch(path.name)]
            for path in sorted(mine, key=lambda path: path.name != MANIFEST):  # the manifest first: the rest is void
                freed += path.stat().st_size if path.name != LOCK else 0
                path.unlink()
            if not any(folder.iterdir()):
                folder.rmdir()
        return freed

    def _require(self) -> None:
        """Touch what the rest relies on, so that what is missing is found here. Raises ValueError or what it meets."""
        manifest = self.manifest
        sound = (
            manifest["state"] in self.files
            and "tokens" in self.files
            and 0 <= self.num_tokens <= self.total_tokens
            and all(isinstance(entry["name"], str) and entry["start"] >= 0 for entry in manifest["documents"])
            and isinstance(manifest["complete"], bool)
            and isinstance(manifest["saved"], str)
        )
        if not sound:
            raise ValueError("a part is missing, or no part of a saved context")
        KIVConfig(**manifest["config"])

    @property
    def complete(self) -> bool:
        """Whether its documents are read to their end."""
        return bool(self.manifest["complete"])

    @property
    def generation(self) -> int:
        """Number of the last checkpoint."""
        return int(self.manifest["generation"])

    @property
    def num_tokens(self) -> int:
        """Tokens that are read."""
        return int(self.manifest["num_tokens"])

    @property
    def total_tokens(self) -> int:
        """Tokens of everything that was queued."""
        return self.files["tokens"].length // 4

    @property
    def planned_tokens(self) -> int:
        """The length that was announced before reading."""
        return int(self.manifest["planned_tokens"])

    @property
    def document_names(self) -> list[str]:
        return [entry["name"] for entry in self.manifest["documents"]]

    @property
    def nbytes(self) -> int:
        """Bytes on the disk, but for the manifest."""
        return sum(file.length for file in self.files.values())

    @property
    def config(self) -> KIVConfig:
        """What it was read with."""
        return KIVConfig(**self.manifest["config"])

    @property
    def system(self) -> str | None:
        """The system prompt."""
        system: str | None = self.manifest["system"]
        return system

    def holds(self, documents: Sequence[Document]) -> bool:
        """Whether it is about exactly these documents, in this order."""
        if self.document_names != [document.name for document in documents]:
            return False
        return all(self._text(number) == document.text for number, document in enumerate(documents))

    def begins(self, documents: Sequence[Document]) -> bool:
        """Whether these are its documents, the last of which grew at the end, or more of them."""
        names, count = self.document_names, len(self.document_names)
        if not count or names != [document.name for document in documents[:count]]:
            return False
        *whole, last = range(count)
        return all(self._text(number) == documents[number].text for number in whole) and documents[
            last
        ].text.startswith(self._text(last))

    def require_same_model(self, loaded: LoadedModel) -> None:
        """Refuse another model or tokenizer than it was read with."""
        known, now = self.manifest["fingerprint"], fingerprint(loaded)
        for part, what in (("weights", "model"), ("tokenizer", "tokenizer or chat template")):
            if known.get(part) != now[part]:
                raise SavedContextError(
                    f"{self.folder} was read with another {what}; load that one, or read the document again."
                )

    def verify(self) -> None:
        """Compare every byte with its checksum."""
        for name, file in self.files.items():
            file.check(self.folder / name)

    def _bytes(self, name: str) -> bytes:
        if name not in self.files:
            raise DamagedContextError(f"{self.folder / MANIFEST} does not know {name}. Read the document again.")
        file, path = self.files[name], self.folder / name
        file.check(path)
        with path.open("rb") as opened:
            return opened.read(file.length)

    def _numbers(self, name: str, dtype: torch.dtype = torch.int32) -> torch.Tensor:
        data = self._bytes(name)
        return torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)

    def _text(self, number: int) -> str:
        return self._bytes(f"document{number}.text").decode("utf-8", "surrogatepass")

    def tokens(self) -> torch.Tensor:
        """Ids of everything that was queued, int32."""
        return self._numbers("tokens")

    def documents(self) -> list[PlacedDocument]:
        """The documents with their tokens, and where they stand."""
        ids = self.tokens()
        placed = []
        with _damage(self.folder):
            for number, entry in enumerate(self.manifest["documents"]):
                starts, ends = (self._numbers(f"document{number}.{name}") for name in ("starts", "ends"))
                first, last = entry["start"], entry["start"] + len(starts)
                if len(ends) != len(starts) or last > len(ids):
                    raise ValueError("lengths")
                places = Places.from_bytes(self._bytes(f"document{number}.places"))
                document = Document(entry["name"], self._text(number), places)
                placed.append(PlacedDocument(TokenizedDocument(document, ids[first:last], starts, ends), first))
        return placed

    def restore(self, cache: KIVCache, device: torch.device, *, copy: bool) -> list[CacheSnapshot]:
        """Bring an empty cache to what was saved; the snapshots of the layers that forget.

        Rows are mapped; or, where many more will follow them, copied into memory.
        """
        tensors = self._state()
        with _damage(self.folder):
            cold = {int(number): int(count) for number, count in self.manifest["cold_tokens"].items()}
            for layer in cache.growing_layers:
                if self.num_tokens and layer.geometry.index not in cold:
                    raise ValueError("a layer is missing")
                if layer.geometry.index in cold:
                    self._restore_layer(layer, cold[layer.geometry.index], tensors, device, copy=copy)
            snapshots = [
                CacheSnapshot(
                    entry["num_tokens"],
                    {index: value_from_json(state, tensors, device) for index, state in entry["layers"]},
                )
                for entry in self.manifest["snapshots"]
            ]
            if snapshots:
                cache.set_forgetting(snapshots[-1])
            if self.num_tokens and cache.num_tokens != self.num_tokens:
                raise ValueError("lengths differ")
        return snapshots

    def _state(self) -> dict[str, torch.Tensor]:
        name = self.manifest["state"]
        data = self._bytes(name)
        try:
            return from_safetensors(data)
        except SafetensorError as error:
            raise DamagedContextError(f"{self.folder / name} is damaged ({error}). Read the document again.") from error

    def _restore_layer(
        self, layer: KIVLayer, cold: int, tensors: dict[str, torch.Tensor], device: torch.device, *, copy: bool
    ) -> None:
        name = f"layer{layer.geometry.index}"
        keys, values = (tensors[f"{name}.hot_{kind}"].to(device) for kind in ("keys", "values"))
        prefix = f"{name}.index."
        maps = {key.removeprefix(prefix): part for key, part in tensors.items() if key.startswith(prefix)}
        layer.load(keys, values, cold, maps)
        for kind, table in (("keys", layer.store.keys), ("values", layer.store.values)):
            self._restore_rows(f"{name}.{kind}", table, cold, copy=copy)
        for plane, codes in (layer.index.codes(0, cold) if layer.index.ready else {}).items():
            codes.copy_(self._numbers(f"{name}.{plane}", torch.uint8).view(codes.shape))

    def _restore_rows(self, name: str, table: RowTable, cold: int, *, copy: bool) -> None:
        if not cold:
            return
        parts: list[MappedRows] = []
        for (suffix, size), (shape, dtype) in zip(_columns(table), table.stored_as, strict=True):
            file = self.files[name + suffix]
            if file.length != cold * size:
                raise ValueError(f"{name}{suffix} has {file.length} bytes")
            parts.append(MappedRows(self.folder / (name + suffix), file, shape, dtype))
        table.adopt(parts, copy=copy)


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """What does not fit together is damage."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError, IndexError, RuntimeError) as error:
        raise DamagedContextError(f"{path} is damaged. Read the document again.") from error
    except ConfigError as error:
        raise DamagedContextError(f"{path} is damaged ({error}). Read the document again.") from error


def _checksum(manifest: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(manifest, sort_keys=True).encode())


def _safe(name: str) -> str:
    """A file's name from a manifest, which must not lead out of the folder."""
    if not _OWN_FILE.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a file of a saved context")
    return name
