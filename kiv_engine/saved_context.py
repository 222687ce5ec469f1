"""A saved context as it lies on the disk: what it holds, whether it is sound, and the way back into a cache."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors

from kiv_engine.blocks import BlockFile, MappedRows
from kiv_engine.cache import CacheSnapshot, KIVCache
from kiv_engine.config import KIVConfig
from kiv_engine.context_folder import (
    FORMAT,
    LOCK,
    MANIFEST,
    OWN_FILE,
    checksum,
    columns,
    disk_errors,
    fingerprint,
    locked,
    safe_name,
)
from kiv_engine.document import Document, TokenizedDocument
from kiv_engine.documents.places import Places
from kiv_engine.errors import ConfigError, DamagedContextError, SavedContextError, said
from kiv_engine.layer import KIVLayer
from kiv_engine.layer_state import value_from_json
from kiv_engine.loader import LoadedModel
from kiv_engine.passages import PlacedDocument
from kiv_engine.store import RowTable


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
            what = said("holds no saved context") if folder.is_dir() else said("does not exist")
            raise SavedContextError(said("{0} {1}; name a folder that 'kiv ask --save' wrote.", folder, what)) from None
        except OSError as error:
            raise SavedContextError(said("{0} cannot be read ({1}).", folder, error.strerror)) from error
        except (ValueError, RecursionError):
            raise DamagedContextError(said("{0} is damaged. Read the document again.", folder / MANIFEST)) from None
        with _damage(folder / MANIFEST):
            manifest = content["context"]
            if content["checksum"] != checksum(manifest):
                raise ValueError("checksum")
            if manifest["format"] != FORMAT:
                raise SavedContextError(
                    said(
                        "{0} was written by another version of this program (format {1}, not {2}); read the "
                        "document again.",
                        folder,
                        manifest["format"],
                        FORMAT,
                    )
                )
            files = {safe_name(name): BlockFile.from_json(entry) for name, entry in manifest["files"].items()}
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
            raise SavedContextError(said("{0} is no folder; name the folder that holds saved contexts.", parent))
        within = sorted(path for path in parent.iterdir() if path.is_dir())
        return [folder for folder in (parent, *within) if SavedContext.exists(folder)]

    @staticmethod
    def remove(folder: str | Path) -> int:
        """Delete a saved context's files, and the folder if nothing else is in it; the bytes they had.

        Raises SavedContextError if there is no manifest, so that no other folder is ever emptied, and where one of the
        files is in use on Windows, before anything is deleted.
        """
        folder = Path(folder)
        if not SavedContext.exists(folder):
            raise SavedContextError(said("{0} holds no saved context; nothing was removed.", folder))
        freed = 0
        with disk_errors(folder), locked(folder):
            mine = [path for path in folder.iterdir() if OWN_FILE.fullmatch(path.name) and path.name != LOCK]
            for path in mine:
                try:
                    path.rename(path)  # which Windows refuses where it would refuse to delete
                except PermissionError as error:
                    raise SavedContextError(
                        said(
                            "{0} is in use, by another chat or program, or may not be written: close it there, and "
                            "remove the saved context then. Nothing was removed.",
                            path,
                        )
                    ) from error
            for path in sorted(mine, key=lambda path: path.name != MANIFEST):  # the manifest first: the rest is void
                freed += path.stat().st_size
                path.unlink()
            with suppress(PermissionError):  # Windows deletes no file that is open; the lock goes when it is released
                (folder / LOCK).unlink()
        with suppress(OSError):  # something else is in it
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
        for part, what in (("weights", said("model")), ("tokenizer", said("tokenizer or chat template"))):
            if known.get(part) != now[part]:
                raise SavedContextError(
                    said("{0} was read with another {1}; load that one, or read the document again.", self.folder, what)
                )

    def verify(self) -> None:
        """Compare every byte with its checksum."""
        for name, file in self.files.items():
            file.check(self.folder / name)

    def _bytes(self, name: str) -> bytes:
        if name not in self.files:
            raise DamagedContextError(
                said("{0} does not know {1}. Read the document again.", self.folder / MANIFEST, name)
            )
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

    def restore(
        self, cache: KIVCache, layer_device: Callable[[int], torch.device], *, copy: bool
    ) -> list[CacheSnapshot]:
        """Bring an empty cache to what was saved; the snapshots of the layers that forget.

        `layer_device` says where a layer's part belongs: each follows its layer, wherever it was when it was saved.

        Rows are mapped; or, where many more will follow them, copied into memory.
        """
        tensors = self._state()
        with _damage(self.folder):
            cold = {int(number): int(count) for number, count in self.manifest["cold_tokens"].items()}
            for layer in cache.growing_layers:
                if self.num_tokens and layer.geometry.index not in cold:
                    raise ValueError("a layer is missing")
                if layer.geometry.index in cold:
                    index = layer.geometry.index
                    self._restore_layer(layer, cold[index], tensors, layer_device(index), copy=copy)
            snapshots = [
                CacheSnapshot(
                    entry["num_tokens"],
                    {index: value_from_json(state, tensors, layer_device(index)) for index, state in entry["layers"]},
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
            raise DamagedContextError(
                said("{0} is damaged ({1}). Read the document again.", self.folder / name, error)
            ) from error

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
        for (suffix, size), (shape, dtype) in zip(columns(table), table.stored_as, strict=True):
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
        raise DamagedContextError(said("{0} is damaged. Read the document again.", path)) from error
    except ConfigError as error:
        raise DamagedContextError(said("{0} is damaged ({1}). Read the document again.", path, error)) from error
