"""The engine: owns a model and its tokenizer, and makes contexts over it. Knows nothing of who calls it."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from kiv_engine.config import KIVConfig, Quantize
from kiv_engine.context import Context
from kiv_engine.document import Document
from kiv_engine.encoding import TextEncoder
from kiv_engine.events import MemoryPlaces, MemoryUse, SmallerPlan
from kiv_engine.loader import LoadedModel, LoadOptions, load
from kiv_engine.model_folder import OnProgress
from kiv_engine.model_shape import ModelShape, Setting
from kiv_engine.records import keep, measure, read_records
from kiv_engine.remedy import choose_devices, for_context
from kiv_engine.saved_context import SavedContext
from kiv_engine.speed import measure_token
from kiv_engine.stopping import ShouldStop, never
from kiv_engine.weights import weight_bytes


class Engine:
    """A loaded model. Use `Engine.load`, then `new_context`."""

    def __init__(self, loaded: LoadedModel, options: LoadOptions | None = None) -> None:
        self.loaded = loaded
        self.options = options or LoadOptions(loaded.name)
        self._token_s: float | None = None  # to read one, as planned: measured when it is asked for

    @classmethod
    def load(
        cls,
        model: str = "demo",
        *,
        quantize: Quantize = "none",
        device: Literal["auto", "cpu", "cuda"] = "auto",
        on_progress: OnProgress = lambda _: None,
        should_stop: ShouldStop = never,
        anyway: bool = False,
    ) -> "Engine":
        """Load the built-in model ("demo"), a local folder or a hub id. Raises EngineErrors fit to be shown.

        A hub id is downloaded first, unless it is complete in the cache: `on_progress` hears of that and of
        loading, and `should_stop` ends both with a StoppedError. A model that is larger than what is free raises
        OutOfMemoryError before it is loaded, unless it is to be tried `anyway`. What is too large for one GPU is
        spread over several.
        """
        options = LoadOptions(model, quantize, device)
        choose = partial(choose_devices, options, anyway=anyway)
        return cls(load(options, on_progress, should_stop, choose), options)

    def memory_places(self) -> MemoryPlaces:
        """Where the model's weights lie."""
        weights = MemoryUse(weights=weight_bytes(self.loaded.model))
        return MemoryPlaces.of(weights, on_gpu=self.loaded.device.type == "cuda")

    def smaller_plan(self, context: Context, error: BaseException) -> SmallerPlan | None:
        """What to change for a context's documents to fit, where the error of a `Failed` says that memory ran out."""
        return for_context(self.loaded, self.options, context, error)

    def new_context(self, config: KIVConfig | None = None, *, system: str | None = None) -> Context:
        """An empty context; `system` is the system prompt. Any number of contexts can live on one model."""
        return Context(self.loaded, config or KIVConfig(), system)

    def open_context(
        self,
        folder: str | Path,
        *,
        retrieved_tokens: int | None = None,
        copy: bool = False,
        store: str | Path = "ram",
    ) -> Context:
        """A saved context, ready for questions; if its documents were not read to their end, `read()` goes on.

        `copy` brings it into the `store` of a config instead of mapping it: for an `exchange` with longer documents. So
        does what has to be read on.

        Raises SavedContextError where the folder holds none, or one of another model, and DamagedContextError.
        """
        return Context.opened(self.loaded, SavedContext.open(folder), retrieved_tokens, copy=copy, store=store)

    def grow_context(
        self,
        folder: str | Path,
        documents: Sequence[Document],
        target: str | Path,
        *,
        retrieved_tokens: int | None = None,
        store: str | Path = "ram",
    ) -> Context:
        """What is saved in `folder`, with the documents that it is the beginning of; `read()` goes on, into `target`.

        Raises SavedContextError and DamagedContextError like `open_context`, and what `Context.save` raises.
        """
        context = self.open_context(folder, retrieved_tokens=retrieved_tokens, copy=True, store=store)
        try:
            context.exchange(*documents)
            context.save(target)
        except BaseException:
            context.close()
            raise
        return context

    def record(self, context: Context) -> None:
        """Keep what the model and this context took, beside what was planned: `kiv fit` and `kiv models` show it."""
        keep(measure(self.loaded, self.options, context, 1 / self._token_s if self._token_s else 0.0))

    def seconds_to_read(self, context: Context, up_to: int | None = None) -> float | None:
        """About how long reading the rest of the documents takes, or to a length `up_to` of the context, in tokens.

        None where that grows faster than the text.

        The rate is that of the newest reading with this model here; before there is one, a second goes into measuring.
        """
        if not context.reads_linearly:
            return None
        unread = context.unread_tokens
        if up_to is not None:
            unread = min(unread, max(0, up_to - context.num_tokens))
        record = read_records().get((self.options.model, self.options.quantize))
        if record is not None and record.device == self.loaded.device.type and record.read_tokens_per_s > 0:
            return unread / record.read_tokens_per_s
        if self._token_s is None:
            self._token_s = self._measure_token(context.config)
        return unread * self._token_s

    def _measure_token(self, config: KIVConfig) -> float:
        setting = Setting(self.options.quantize, "cuda" if self.loaded.device.type == "cuda" else "cpu", config)
        shape = ModelShape(self.loaded.model.config)
        return measure_token(shape, setting, self.loaded.layers_on)

    def count_tokens(self, pieces: list[str]) -> list[int]:
        """Token counts of separate pieces of text that begin lines."""
        encoded = TextEncoder(self.loaded.tokenizer).encode_batch(pieces, [True] * len(pieces))
        return [len(piece.ids) for piece in encoded]
