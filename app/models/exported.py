"""A chat as a file of its own: JSON that can be imported again, or Markdown, HTML and PDF to be read.

Takes long for long chats, so it is done on the history's thread.
"""

import base64
import json
import os
import re
import uuid
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from PySide6.QtCore import QCoreApplication, QMarginsF
from PySide6.QtGui import QFont, QPageLayout, QPageSize, QPdfWriter, QTextDocument

from app.answer_words import settings_words
from app.figures import as_place
from app.models.kept import settings_of
from app.saved_chats import SavedChat, SavedExchange
from app.settings import from_json
from kiv_engine.errors import ConfigError

FORMAT: Final = "kiv-chat"
VERSION: Final = 1
KINDS: Final = (".md", ".html", ".pdf", ".json")
MAX_IMPORT_BYTES: Final = 256_000_000
MARGIN_MM: Final = 18
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>#+\-!|~])")


def tr(text: str) -> str:
    """In the user's language."""
    return QCoreApplication.translate("Export", text)


class ExportError(ValueError):
    """What cannot be written or read; the message ends a sentence about a file."""


def export(path: Path, chat: SavedChat, exchanges: Sequence[SavedExchange]) -> None:
    """Write a chat; the kind is told by the name. In one step: an older file is replaced or left as it is.

    Raises ExportError and OSError.
    """
    fresh = path.with_name(path.name + ".new")
    match path.suffix.lower():
        case ".json":
            fresh.write_text(to_json(chat, exchanges), encoding="utf-8")
        case ".md":
            fresh.write_text(to_markdown(chat, exchanges), encoding="utf-8")
        case ".html":
            fresh.write_text(_inert(_document(chat, exchanges).toHtml()), encoding="utf-8")
        case ".pdf":
            _write_pdf(fresh, _document(chat, exchanges))
        case other:
            line = tr("a name that ends in “{0}” is of no kind; take one of {1}")
            raise ExportError(line.format(other, ", ".join(KINDS)))
    os.replace(fresh, path)


# -- to be imported again ------------------------------------------------------------------------------------------


def to_json(chat: SavedChat, exchanges: Sequence[SavedExchange]) -> str:
    """All of a chat: every branch, its documents' places, pasted texts, passages and where answers looked."""
    said = [
        {**asdict(each), "heat": None if each.heat is None else base64.b64encode(each.heat).decode()}
        for each in exchanges
    ]
    whole = {"format": FORMAT, "version": VERSION, **asdict(replace(chat, draft="")), "exchanges": said}
    return json.dumps(whole, indent=1, ensure_ascii=True) + "\n"


def import_json(path: Path) -> tuple[SavedChat, list[SavedExchange]]:
    """What `to_json` wrote, as another chat than the one that was exported. Raises ExportError and OSError."""
    if path.stat().st_size > MAX_IMPORT_BYTES:
        raise ExportError(tr("it has more than {0:,} bytes").format(MAX_IMPORT_BYTES))
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT or data["version"] > VERSION:
            raise ExportError(tr("it is from a newer version of this app"))
        exchanges = [_exchange(each) for each in data["exchanges"]]
        chat = from_json(SavedChat, data, path=tuple(map(int, data["path"])), pinned=False, draft="")
        _require_tree(exchanges)
        return replace(chat, key=uuid.uuid4().hex, title=str(chat.title), changed=float(chat.changed)), exchanges
    except ExportError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, ConfigError, RecursionError) as error:
        raise ExportError(tr("it is no chat that was exported as JSON, or it is damaged")) from error


def _exchange(data: dict[str, Any]) -> SavedExchange:
    heat = None if data["heat"] is None else base64.b64decode(data["heat"], validate=True)
    texts = (data[name] for name in ("question", "answer", "state", "message", "claims"))
    settings = data.get("settings") or ""  # which older files lack
    if not isinstance(data["id"], int) or not all(isinstance(text, str) for text in (*texts, settings)):
        raise ExportError(tr("an exchange in it is damaged"))
    return from_json(SavedExchange, data, heat=heat)


def _require_tree(exchanges: Sequence[SavedExchange]) -> None:
    known: set[int] = set()
    for each in exchanges:
        if each.id in known or (each.parent is not None and each.parent not in known):
            raise ExportError(tr("its exchanges do not follow each other"))
        known.add(each.id)


# -- to be read ----------------------------------------------------------------------------------------------------


def to_markdown(chat: SavedChat, exchanges: Sequence[SavedExchange]) -> str:
    """The branch that is shown: questions, answers, and the passages that were retrieved for each."""
    by_id = {each.id: each for each in exchanges}
    parts = [f"# {_plain(chat.title)}"]
    if names := [_document_name(document) for document in chat.documents or ()]:
        parts.append(tr("Documents: {0}").format(_plain(", ".join(names))))
    for number in chat.path:
        parts += _said(by_id[number]) if number in by_id else ()
    return "\n\n".join(parts) + "\n"


def _said(exchange: SavedExchange) -> list[str]:
    parts = [f"## {_plain(exchange.question)}"]
    if exchange.answer:
        parts.append(exchange.answer.replace("![", r"!\["))  # a picture would be fetched by whoever opens the file
    if exchange.state in ("failed", "unfinished"):
        parts.append(f"*{_plain(exchange.message or tr('There is no answer.'))}*")
    if made := settings_of(exchange.settings):
        parts.append(f"*{_plain('; '.join(settings_words(made)))}.*")
    passages = json.loads(exchange.finished or "{}").get("passages", ())
    if passages:
        parts.append(tr("Passages retrieved while this answer was written:"))
        parts += [_passage(passage) for passage in passages]
    return parts


def _passage(passage: dict[str, Any]) -> str:
    place = as_place(passage.get("page"), passage.get("section") or "", passage.get("row"), passage.get("line"))
    where = ", ".join(filter(None, (passage["document"], place)))
    return f"> {_plain(where)} ({passage['weight']:.0%}): {_plain(passage['text'])}"


def _document_name(document: dict[str, Any]) -> str:
    if "file" in document:
        return Path(document["file"]).name
    return str(document["name"]) if "name" in document else "The Archive of Pellingwater"


def _plain(text: str) -> str:
    """Text in one line, without a meaning in Markdown."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _document(chat: SavedChat, exchanges: Sequence[SavedExchange]) -> QTextDocument:
    document = QTextDocument()
    font = QFont()
    font.setPointSizeF(10.5)
    document.setDefaultFont(font)
    document.setMarkdown(to_markdown(chat, exchanges), QTextDocument.MarkdownFeature.MarkdownNoHTML)
    document.setMetaInformation(QTextDocument.MetaInformation.DocumentTitle, chat.title)
    return document


def _inert(html: str) -> str:
    """Without what a browser would fetch or run; addresses of the web can be clicked."""
    html = re.sub(r"<img [^>]*>", "", html)
    return re.sub(r'href="(?!https?:|mailto:)[^"]*"', 'href="#"', html)


def _write_pdf(path: Path, document: QTextDocument) -> None:
    writer = QPdfWriter(str(path))
    writer.setPageSize(QPageSize(QPageSize.PageSizeId.A4))
    margins = QMarginsF(MARGIN_MM, MARGIN_MM, MARGIN_MM, MARGIN_MM)
    writer.setPageMargins(margins, QPageLayout.Unit.Millimeter)
    writer.setTitle(document.metaInformation(QTextDocument.MetaInformation.DocumentTitle))
    document.print_(writer)
    del writer  # the file is whole once it is gone
    if not path.is_file() or not path.stat().st_size:
        raise ExportError(tr("nothing can be written there"))
