"""Downloads from the HuggingFace hub into the cache of HuggingFace's own tools.

The only file that opens connections, but for PyTorch itself: `torch_build.py` asks how large a build is, pip gets it.

Only safetensors, config and tokenizer files are fetched. Large ones go on where they stopped, even after a kill: the
library itself would begin again. They count only once their checksum is right.
"""

import errno
import hashlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from filelock import FileLock, Timeout
from huggingface_hub import HfApi, constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError is httpx's or httpx2's, by version
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # it exports them, without saying so to mypy
    are_progress_bars_disabled,
    build_hf_headers,
    disable_progress_bars,
    enable_progress_bars,
    hf_raise_for_status,
    http_stream_backoff,
)
from huggingface_hub.utils import logging as hub_logging

from kiv_engine.catalogue import nearest_ids
from kiv_engine.errors import AccessError, CapacityError, EngineError, ModelNotFoundError, StoppedError, said
from kiv_engine.events import Downloaded, DownloadEvent, DownloadProgress
from kiv_engine.free_space import existing_folder
from kiv_engine.hub_token import has_token, keyring_token
from kiv_engine.model_places import downloads_folder, model_folders
from kiv_engine.stopping import ShouldStop
from kiv_engine.torch_build import size_text

WHOLE: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"
"""Weights in one file, or the list of the files that they are in."""

SMALL_FILES: Final = ("config.json", "generation_config.json", "chat_template.jinja", "chat_template.json")
TOKENIZER: Final = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json")
TOKENIZER_CONFIG: Final = "tokenizer_config.json"
TOKENIZER_EXTRAS: Final = (TOKENIZER_CONFIG, "special_tokens_map.json", "added_tokens.json", "merges.txt")
BESIDE_WEIGHTS: Final = SMALL_FILES + TOKENIZER + TOKENIZER_EXTRAS
PLAIN_SHARD: Final = re.compile(r"[^/\\:]+\.safetensors")

CHECKSUM: Final = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
SHA256_DIGITS: Final = 64

PICKLES: Final = {"bin", "pt", "pth", "ckpt"}

CHUNK_BYTES: Final = 1 << 18
PROGRESS_INTERVAL_S: Final = 0.1
MAX_STALLS: Final = 3
"""So often in a row a connection may break without a single new byte."""

BEHIND_END: Final = 416
RETRIED: Final = (408, 429, 500, 502, 503, 504)

MEANINGS: Final = (
    (
        RepositoryNotFoundError,
        said(
            "is not on the HuggingFace hub, or is private; check its name, or give a token that may read it with: "
            "kiv models token."
        ),
    ),
    (HFValidationError, said("is neither a folder here nor a name that the HuggingFace hub can have.")),
    (
        OfflineModeIsEnabled,
        said("is not on this computer, and HF_HUB_OFFLINE forbids to ask the HuggingFace hub; unset it."),
    ),
    (
        (LocalEntryNotFoundError, ConnectionError, TimeoutError),
        said("is not on this computer, and the HuggingFace hub cannot be reached; check the name and the connection."),
    ),
    (HfHubHTTPError, said("cannot be had from the HuggingFace hub now, which answers with an error; try again later.")),
    (
        HTTPError,
        said("is not on this computer, and the HuggingFace hub cannot be reached; check the name and the connection."),
    ),
)
"""What went wrong on the way to a hub id; the first that fits."""


@dataclass(frozen=True)
class HubFile:
    """One file of a model on the hub.

    Attributes:
        sha256: "" for small ones, which git keeps itself.
        git_sha1: git's name of its content, or of what it keeps for a large one; "" where that is not known.
    """

    name: str
    num_bytes: int
    sha256: str
    git_sha1: str = ""

    @property
    def checksum(self) -> str:
        """What the hub, and the cache, know its content by; "" where that is not known."""
        return self.sha256 or self.git_sha1


@dataclass(frozen=True)
class HubModel:
    """What a model's download consists of, at one commit."""

    id: str
    commit: str
    files: tuple[HubFile, ...]

    @property
    def num_bytes(self) -> int:
        """Of all files, those included that are here already."""
        return sum(file.num_bytes for file in self.files)


# -- what is here ----------------------------------------------------------------------------------------------------


def find_downloaded(model_id: str) -> Path | None:
    """The folder of a model that lies complete where models are kept, or None. Opens no connection.

    Weights and a tokenizer.json that are cut short or overwritten count as missing, so that loading fetches them
    again; of these only both ends are looked at, which takes no time.
    """
    for folder in _folders_with_config(model_id):
        if any(_is_unusable(folder / name) for name in weight_files(folder)) or not has_tokenizer(folder):
            continue
        if _has_ends_of_json(folder / "tokenizer.json"):
            return folder
    return None


def spoilt_files(folder: Path) -> list[str]:
    """Names of files beside the weights whose content is not what the hub sent, or that are gone.

    In a downloaded folder they are links to files that are named after their checksums; where links cannot be made,
    JSON must be JSON. A model without a tokenizer_config.json may be as it should be; only the hub knows.
    """
    links = [name for name in BESIDE_WEIGHTS if (folder / name).is_symlink() or (folder / name).exists()]
    lost = [] if TOKENIZER_CONFIG in links else [TOKENIZER_CONFIG]
    return [name for name in links if _is_spoilt(folder / name)] + lost


def _is_spoilt(path: Path) -> bool:
    content = path.resolve()
    if not content.exists():
        return True
    if path.is_symlink() and CHECKSUM.fullmatch(content.name):
        return _checksum(content, content.name) != content.name
    return path.suffix == ".json" and not _is_json(path)


def _checksum(path: Path, like: str) -> str:
    """Of the kind of another one: SHA-256, or git's SHA-1 of a file."""
    if len(like) == SHA256_DIGITS:
        with path.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    text = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(text) + text, usedforsecurity=False).hexdigest()


def _has_ends_of_json(path: Path) -> bool:
    """Whether a file begins and ends as an object does, or is not there."""
    if not path.exists():
        return True
    with path.open("rb") as file:
        first = file.read(16)
        file.seek(-min(16, _size(path)), os.SEEK_END)
        return first.lstrip().startswith(b"{") and file.read().rstrip().endswith(b"}")


def _folders_with_config(model_id: str) -> Iterator[Path]:
    """Folders that hold a model's config, in which nothing is damaged, and perhaps more of it."""
    for place in model_folders():
        try:
            config = try_to_load_from_cache(model_id, "config.json", cache_dir=place)
        except HFValidationError:
            return
        if isinstance(config, str) and _is_json(Path(config)):
            yield Path(config).parent


def weight_files(folder: Path) -> list[str]:
    """The files that a model's weights are in, there or not: one, or those of its index where it has one."""
    if (folder / WHOLE).exists():
        return [WHOLE]
    try:
        return shards_of(folder / INDEX)
    except (OSError, ValueError):
        return [WHOLE]


def shards_of(index: Path) -> list[str]:
    """The weight files that an index names. Raises ValueError where it is damaged, OSError where it is not there."""
    text = index.read_text(encoding="utf-8")
    try:
        shards = sorted({str(shard) for shard in json.loads(text)["weight_map"].values()})
    except (LookupError, AttributeError, TypeError, RecursionError) as error:
        raise ValueError(f"{index.name} has no weight_map") from error
    if not shards:
        raise ValueError(f"{index.name} names no files")
    return shards


def missing_weights(folder: Path) -> list[str]:
    """The weight files that a model's folder lacks."""
    return [name for name in weight_files(folder) if not (folder / name).exists()]


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return True


def _is_unusable(weights: Path) -> bool:
    return not weights.exists() or bool(weights_problem(weights))


def weights_problem(path: Path) -> str:
    """What is wrong with a safetensors file, judged by its size and header, or ""."""
    with path.open("rb") as file:
        start = file.read(8)
        if start == b"version ":
            return said("is only a pointer to the weights; fetch them with: git lfs pull.")
        try:
            header = json.loads(file.read(int.from_bytes(start, "little")) if len(start) == 8 else b"")
            end = max((each["data_offsets"][1] for name, each in header.items() if name != "__metadata__"), default=0)
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError, MemoryError):
            return said("is damaged; download it again.")
        missing = file.tell() + end - _size(path)
    return said("is not complete: {0:,} bytes are missing; download it again.", missing) if missing > 0 else ""


def foreign_weights(source: str, names: Collection[str], base: str = "") -> str:
    """What a model consists of instead of safetensors, and what to get; "" where that is not known.

    `names` are those of its files, `base` is the id of the model that it was made from.
    """
    endings = {name.removesuffix(".index.json").rpartition(".")[2] for name in names}
    original = (
        said("get the model that it was made from, {0}", base) if base else said("get the model that it was made from")
    )
    if "gguf" in endings:
        return said(
            "{0} has its weights as GGUF, which KIV does not read; {1}, as safetensors (see: kiv models).",
            source,
            original,
        )
    if "adapter_config.json" in names:
        return said("{0} is an adapter and no model of its own; {1}.", source, original)
    if endings & PICKLES:
        return said(
            "{0} has its weights only as a pickle, which could run code when it is opened, and not as "
            "safetensors; look for another upload of it, or, where you trust it, load it with "
            "transformers' from_pretrained and store it with save_pretrained.",
            source,
        )
    return ""


def has_tokenizer(folder: Path) -> bool:
    """Whether any file is there that a tokenizer is made of."""
    return any((folder / name).exists() for name in TOKENIZER)


def connection_problem(model_id: str, error: Exception) -> ModelNotFoundError:
    """What an error on the way to a hub id means, in one sentence, with the nearest ids where the name may be wrong."""
    for cause in _causes(error):
        if isinstance(cause, GatedRepoError):  # the root of it is the one below
            return gate_problem(model_id)
    for kind, meaning in MEANINGS:
        if any(isinstance(each, kind) for each in _causes(error)):
            near = [] if kind is HfHubHTTPError else nearest_ids(model_id)
            hint = said(" Did you mean {0}?", said(" or ").join(near)) if near and model_id not in near else ""
            message = said("{0} {1}{2}", model_id, meaning, hint)
            may_be_private = kind is RepositoryNotFoundError and not hint
            return AccessError(message, model_id) if may_be_private else ModelNotFoundError(message)
    return ModelNotFoundError(said("{0} cannot be loaded: {1}", model_id, first_line(error)))


def gate_problem(model_id: str) -> AccessError:
    """What to do about a model that its owner grants access to one by one."""
    page = f"huggingface.co/{model_id}"
    if has_token():
        return AccessError(
            said(
                "{0} is only for those whom its owner grants access, and the token that was sent is not "
                "of one of them: ask for access on {1}, logged in as the token's owner; it may take a "
                "while to be granted.",
                model_id,
                page,
            ),
            model_id,
        )
    return AccessError(
        said(
            "{0} is only for those whom its owner grants access: ask for it on {1}, make a token on "
            "huggingface.co/settings/tokens, and give it with: kiv models token.",
            model_id,
            page,
        ),
        model_id,
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it came from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its name where it has none."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


# -- what is on the hub ----------------------------------------------------------------------------------------------


def fetch_config(model_id: str, commit: str | None = None) -> Path:
    """The folder of a model's config.json, which alone is fetched where it is not in the cache; any commit's will do
    where none is named."""
    here = None if commit else next(_folders_with_config(model_id), None)
    return here or _into_cache(model_id, "config.json", commit, downloads_folder()).parent


def _into_cache(model_id: str, name: str, revision: str | None, folder: Path) -> Path:
    """Let the hub's library put a file where models are kept; it fetches what is not there, and here what is torn."""
    fetch = partial(
        hf_hub_download, model_id, name, revision=revision, cache_dir=folder, endpoint=constants.ENDPOINT,
        token=keyring_token(),
    )  # fmt: skip
    with quiet_hub():
        path = Path(fetch())
        if path.suffix == ".json" and not _is_json(path):
            path.resolve().unlink()
            path.unlink(missing_ok=True)
            path = Path(fetch())
    return path


def download(model: HubModel, on_progress: Callable[[DownloadProgress], None], should_stop: ShouldStop) -> Path:
    """Download what is missing of a model; its folder. Raises StoppedError where `should_stop` says so."""
    for event in Download(model).run(should_stop):
        if isinstance(event, DownloadProgress):
            on_progress(event)
        elif event.stopped:
            raise StoppedError(
                said(
                    "Stopped after {0:,} of {1:,} bytes of {2}; the next download goes on from there.",
                    event.bytes_done,
                    event.bytes_total,
                    model.id,
                )
            )
        else:
            return Path(event.folder)
    raise AssertionError("a download ended without a terminal event")


@contextmanager
def quiet_hub() -> Iterator[None]:
    """The hub's library neither draws progress bars of its own nor logs that it tries again."""
    drawn, verbosity = not are_progress_bars_disabled(), hub_logging.get_verbosity()
    disable_progress_bars()
    hub_logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        hub_logging.set_verbosity(verbosity)
        if drawn:
            enable_progress_bars()


def look_up(model_id: str) -> HubModel:
    """Ask the hub what a model consists of. Raises ModelNotFoundError, also where it has no safetensors."""
    try:
        with quiet_hub():
            info = HfApi(endpoint=constants.ENDPOINT, token=keyring_token()).model_info(model_id, files_metadata=True)
        siblings = {each.rfilename: each for each in info.siblings or []}
        _require_weights(model_id, list(siblings), info)
        if siblings.keys().isdisjoint(TOKENIZER):
            raise ModelNotFoundError(said("{0} has no tokenizer.", model_id))
        weights = [WHOLE] if WHOLE in siblings else [INDEX, *_shards_on_hub(model_id, str(info.sha), siblings.keys())]
    except (OSError, HTTPError, HFValidationError) as error:
        raise connection_problem(model_id, error) from error
    wanted = [each for name, each in siblings.items() if name in BESIDE_WEIGHTS or name in weights]
    files = (
        HubFile(each.rfilename, int(each.size or 0), each.lfs.sha256 if each.lfs else "", each.blob_id or "")
        for each in wanted
    )
    return HubModel(model_id, str(info.sha), tuple(files))


def _shards_on_hub(model_id: str, commit: str, names: Set[str]) -> list[str]:
    """The weight files that a model's index names, which is fetched for it; each must be one of the model's `names`."""
    try:
        shards = shards_of(_into_cache(model_id, INDEX, commit, downloads_folder()))
    except ValueError as error:
        raise ModelNotFoundError(
            said("The {0} of {1} is damaged; look for another upload of it.", INDEX, model_id)
        ) from error
    for shard in shards:
        if not PLAIN_SHARD.fullmatch(shard):
            raise ModelNotFoundError(
                said(
                    "The {0} of {1} names {2!r}, which is no safetensors file beside it; look for another "
                    "upload of it.",
                    INDEX,
                    model_id,
                    shard,
                )
            )
        if shard not in names:
            raise ModelNotFoundError(said("{0} is not complete on the HuggingFace hub: it lacks {1}.", model_id, shard))
    return shards


def _require_weights(model_id: str, names: list[str], info: Any) -> None:
    """Raise ModelNotFoundError, saying what to get instead, unless there are a config and safetensors."""
    if "config.json" in names and (WHOLE in names or INDEX in names):
        return
    base = getattr(info.card_data, "base_model", None)
    base = base[0] if isinstance(base, list) and base else base
    if problem := foreign_weights(model_id, names, base if isinstance(base, str) else ""):
        raise ModelNotFoundError(problem)
    lacks = said("weights: there is no {0}", WHOLE) if "config.json" in names else "config.json"
    raise ModelNotFoundError(said("{0} is no language model that KIV can load: it has no {1}.", model_id, lacks))


# -- downloading -----------------------------------------------------------------------------------------------------


class Download:
    """One model's way into the cache. Use `run`; what was fetched is kept, whatever happens.

    Attributes:
        model: what is downloaded.
        bytes_done: of the model, those that are here.
    """

    def __init__(self, model: HubModel) -> None:
        self.model = model
        self._folder = downloads_folder()
        self._storage = self._folder / repo_folder_name(repo_id=model.id, repo_type="model")
        self._begin = self._last_report = time.monotonic()
        self.bytes_done = sum(self._bytes_here(file) for file in model.files)
        self._bytes_before = self.bytes_done

    @property
    def bytes_missing(self) -> int:
        """Bytes still to be fetched."""
        return self.model.num_bytes - self.bytes_done

    def run(self, should_stop: ShouldStop) -> Iterator[DownloadEvent]:
        """Fetch what is missing; ends with Downloaded.

        Raises CapacityError where the disk has too little room, before the first byte where it can be known,
        ModelNotFoundError, and EngineError while another program downloads the same model, or where what comes is not
        what the hub announced.
        """
        if self.bytes_missing > self._free_bytes():
            raise self._no_room()
        with self._locked():
            yield self._progress("")
            for file in self.model.files:
                if not self._is_here(file):
                    yield from self._fetch(file, should_stop)
                if should_stop():
                    yield self._finished(stopped=True)
                    return
            self._publish()
            yield self._finished(stopped=False)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep others from writing to the same parts."""
        folder = self._storage.parent / ".locks" / self._storage.name
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "kiv-download.lock", thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise EngineError(
                said("{0} is being downloaded already; wait for that, or stop it.", self.model.id)
            ) from None
        try:
            yield
        finally:
            lock.release()

    def _free_bytes(self) -> int:
        return shutil.disk_usage(existing_folder(self._storage)).free

    def _no_room(self) -> CapacityError:
        return CapacityError(
            said(
                "{0} needs {1} more on the disk of {2}, where {3} are free; free some, or "
                "choose a folder on another disk: kiv models get --folder.",
                self.model.id,
                size_text(self.bytes_missing),
                self._storage.parent,
                size_text(self._free_bytes()),
            )
        )

    # -- files -------------------------------------------------------------------------------------------------------

    def _blob(self, file: HubFile) -> Path:
        return self._storage / "blobs" / file.checksum

    def _part(self, file: HubFile) -> Path:
        return self._blob(file).with_name(f"{file.sha256}.kiv-part")

    def _place(self, file: HubFile) -> Path:
        """Where those who use the model find it."""
        return self._storage / "snapshots" / self.model.commit / file.name

    def _is_here(self, file: HubFile) -> bool:
        return _is_whole(self._place(file), file)

    def _bytes_here(self, file: HubFile) -> int:
        if self._is_here(file) or (file.sha256 and _is_whole(self._blob(file), file)):
            return file.num_bytes
        return min(_size(self._part(file)), file.num_bytes) if file.sha256 else 0

    def _fetch(self, file: HubFile, should_stop: ShouldStop) -> Iterator[DownloadProgress]:
        try:
            self._clear_torn(file)
            yield from self._fetch_large(file, should_stop) if file.sha256 else self._fetch_small(file)
        except (HTTPError, HfHubHTTPError) as error:
            raise connection_problem(self.model.id, error) from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self._no_room() from error
            raise

    def _clear_torn(self, file: HubFile) -> None:
        """Remove what is here and is not the hub's file: its library takes whatever has the name."""
        place = self._place(file)
        for path in (place, place.resolve(), *([self._blob(file)] if file.checksum else [])):
            if path.is_symlink() or (path.exists() and not _is_whole(path, file)):
                path.unlink()

    def _fetch_small(self, file: HubFile) -> Iterator[DownloadProgress]:
        _into_cache(self.model.id, file.name, self.model.commit, self._folder)
        self.bytes_done += file.num_bytes
        yield self._progress(file.name)

    def _fetch_large(self, file: HubFile, should_stop: ShouldStop) -> Iterator[DownloadProgress]:
        if not self._blob(file).exists():
            part = self._part(file)
            part.parent.mkdir(parents=True, exist_ok=True)
            yield from self._fill(part, file, should_stop)
            if _size(part) < file.num_bytes:
                return
            self._check(part, file)
            os.replace(part, self._blob(file))
        _into_cache(self.model.id, file.name, self.model.commit, self._folder)

    def _fill(self, part: Path, file: HubFile, should_stop: ShouldStop) -> Iterator[DownloadProgress]:
        """Fetch the rest of a file, over as many connections as it takes."""
        stalls, most = 0, _size(part)
        while _size(part) < file.num_bytes and not should_stop():
            problem: Exception | None = None
            try:
                with quiet_hub():
                    yield from self._receive(part, file, should_stop)
            except HfHubHTTPError:
                raise
            except HTTPError as error:
                problem = error
            stalls = 0 if _size(part) > most else stalls + 1
            most = max(most, _size(part))
            if stalls >= MAX_STALLS:
                raise problem or EngineError(
                    said(
                        "{0} of {1} ends after {2:,} of {3:,} bytes; try again later.",
                        file.name,
                        self.model.id,
                        most,
                        file.num_bytes,
                    )
                )

    def _receive(self, part: Path, file: HubFile, should_stop: ShouldStop) -> Iterator[DownloadProgress]:
        """One connection's share of a file, from where the part ends."""
        have = _size(part)
        url, headers = self._address(file)
        if have:
            headers["Range"] = f"bytes={have}-"
        with http_stream_backoff(
            "GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
            retry_on_exceptions=(), retry_on_status_codes=RETRIED, follow_redirects=True,
        ) as response:  # fmt: skip
            if response.status_code == BEHIND_END:  # the part is longer than what the server has: begin again
                part.unlink()
                self.bytes_done -= have
                return
            hf_raise_for_status(response)
            if have and response.status_code != 206:  # the server begins at the beginning
                self.bytes_done -= have
                have = 0
            with part.open("ab") as out:
                out.truncate(have)
                for chunk in response.iter_bytes(CHUNK_BYTES):
                    out.write(chunk)
                    self.bytes_done += len(chunk)
                    if should_stop():
                        return
                    if time.monotonic() - self._last_report >= PROGRESS_INTERVAL_S:
                        yield self._progress(file.name)

    def _address(self, file: HubFile) -> tuple[str, dict[str, str]]:
        """Where a file is now, and the headers to ask with; a token is for the hub only, not for where it sends us."""
        headers = {**build_hf_headers(token=keyring_token()), "Accept-Encoding": "identity"}
        url = hf_hub_url(self.model.id, file.name, revision=self.model.commit, endpoint=constants.ENDPOINT)
        location = get_hf_file_metadata(
            url, headers=headers, endpoint=constants.ENDPOINT, retry_on_errors=True
        ).location
        if urlsplit(location)[:2] != urlsplit(url)[:2]:  # scheme and host
            headers.pop("authorization", None)
        return location, headers

    def _check(self, part: Path, file: HubFile) -> None:
        """Raise EngineError, and forget the part, unless it is what the hub says it is."""
        with part.open("rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
        if found != file.sha256 or _size(part) != file.num_bytes:
            part.unlink()
            raise EngineError(
                said("{0} of {1} arrived damaged (its checksum is wrong); try again.", file.name, self.model.id)
            )

    def _publish(self) -> None:
        """Make this commit the one that the model's name stands for."""
        ref = self._storage / "refs" / "main"
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(self.model.commit)

    # -- events ------------------------------------------------------------------------------------------------------

    def _progress(self, name: str) -> DownloadProgress:
        self._last_report = time.monotonic()
        seconds = self._last_report - self._begin
        speed = (self.bytes_done - self._bytes_before) / seconds if seconds > 0 else 0.0
        eta_s = self.bytes_missing / speed if speed > 0 else None
        return DownloadProgress(name, self.bytes_done, self.model.num_bytes, max(0.0, speed), eta_s)

    def _finished(self, *, stopped: bool) -> Downloaded:
        folder = self._storage / "snapshots" / self.model.commit
        return Downloaded(str(folder), self.bytes_done, self.model.num_bytes, time.monotonic() - self._begin, stopped)


def _is_whole(path: Path, file: HubFile) -> bool:
    """Whether the file is there in the hub's size, where that is known, and undamaged: weights by their header, which
    is soon read, all others by their checksum."""
    if not path.exists() or (file.num_bytes and _size(path) != file.num_bytes):
        return False
    if file.name.endswith(".safetensors"):
        return not weights_problem(path)
    return not file.checksum or _checksum(path, file.checksum) == file.checksum


def _size(path: Path) -> int:
    """Bytes of a file, 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
