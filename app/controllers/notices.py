"""What the banner tells: one line, and what can be done with a click. What failed is told with what helps."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from PySide6.QtCore import QCoreApplication

from app.failure_words import memory_advice
from app.figures import as_bytes, rounded_down
from app.requests import Ask, LoadModel, Read, Request, UnloadModel
from kiv_engine.errors import DocumentError, EngineError, OutOfMemoryError
from kiv_engine.events import Failed, SmallerPlan

PAGE_TOKENS: Final = 500
"""A beginning that is shorter than a page is of no use to anyone."""


def tr(text: str) -> str:
    """In the user's language."""
    return QCoreApplication.translate("Notices", text)


class NoticeKind(Enum):
    """How serious a notice is."""

    ERROR = "error"
    INFO = "info"


@dataclass(frozen=True)
class Offer:
    """A way to go on: a request, with a smaller plan if there is one."""

    text: str
    request: Request
    plan: SmallerPlan | None = None


@dataclass(frozen=True)
class Notice:
    """One line for the banner, and what is offered with it."""

    kind: NoticeKind
    text: str
    offers: tuple[Offer, ...] = ()


def notice_of_failure(request: Request, event: Failed, reload: LoadModel | None) -> Notice:
    """What happened, what a person has to know beside it, and what is offered. `reload` is as for `offers_after`."""
    text = " ".join((event.message, *remedies(request, event)))
    return Notice(NoticeKind.ERROR, text, offers_after(request, event, reload))


def remedies(request: Request, event: Failed) -> Iterator[str]:
    """What a person has to know beside what happened; sentences."""
    if isinstance(request, Read) and isinstance(event.error, DocumentError):
        yield from more_unread(len(request.sources) - 1)
    if event.smaller is not None and event.smaller.tokens:
        how = changes(event.smaller)
        most = tr("With {1}, at most about {0:,} tokens fit.") if how else tr("At most about {0:,} tokens fit.")
        yield most.format(event.smaller.tokens, how)
    elif event.smaller is not None and event.smaller.need_bytes:
        line = tr("With {0}, {1} are needed before the first token, and {2} are there.")
        need, free = as_bytes(event.smaller.need_bytes), as_bytes(event.smaller.free_bytes)
        yield line.format(changes(event.smaller), need, free)
    elif event.smaller is None and isinstance(event.error, OutOfMemoryError) and not event.error.is_predicted:
        yield memory_advice()


def more_unread(count: int) -> Iterator[str]:
    """That so many documents more could not be read; nothing of none."""
    if count:
        yield tr("And {0:,} more could not be read.").format(count)


def offers_after(request: Request, event: Failed, reload: LoadModel | None = None) -> tuple[Offer, ...]:
    """What can be done with one click. `reload` brings the model in use back; None where none is in use."""
    offers = []
    if event.smaller is not None and not event.smaller.tokens:
        text = tr("Use {0}").format(changes(event.smaller))
        offers.append(Offer(text, tried(request, anyway=False), event.smaller))
    if isinstance(event.error, OutOfMemoryError) and event.error.is_predicted:
        offers += offers_of_beginning(request, event.error)
        offers.append(Offer(tr("Try anyway"), tried(request, anyway=True)))
    elif reload is None or not isinstance(request, Read | Ask):
        return tuple(offers)
    elif isinstance(event.error, OutOfMemoryError):
        offers.append(Offer(tr("Unload the model"), UnloadModel()))
    elif not isinstance(event.error, EngineError):
        offers.append(Offer(tr("Load the model again"), reload))
    return tuple(offers)


def offers_of_beginning(request: Request, error: OutOfMemoryError) -> Iterator[Offer]:
    """To read as much as fits, where that is a page at least."""
    tokens = rounded_down(error.fit_tokens)
    if isinstance(request, Read) and tokens >= PAGE_TOKENS:
        yield Offer(tr("Read the first {0:,} tokens").format(tokens), replace(request, first_tokens=tokens))


def changes(plan: SmallerPlan) -> str:
    """What a smaller plan has otherwise, for a button."""
    names = {
        tr("16 bit weights"): plan.quantize == "bf16",
        tr("8 bit weights"): plan.quantize == "8bit",
        tr("4 bit weights"): plan.quantize == "4bit",
        tr("8 bit for older text"): plan.store_dtype == "int8",
        tr("the disk for older text"): bool(plan.store),
        tr("{0:,} newest tokens in full").format(plan.hot_tokens): bool(plan.hot_tokens),
        tr("sparse reading"): bool(plan.prefill),
    }
    return ", ".join(name for name, holds in names.items() if holds)


def tried(request: Request, *, anyway: bool) -> Request:
    """The same, also, or not, where it is predicted not to fit."""
    return replace(request, anyway=anyway) if isinstance(request, LoadModel | Read) else request
