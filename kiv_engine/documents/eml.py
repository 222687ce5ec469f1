"""E-mail: who, when and about what, then the text; attachments are named."""

from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Final

from kiv_engine.documents.html import read_markup
from kiv_engine.documents.text_builder import TextBuilder

HEADERS: Final = ("From", "To", "Cc", "Date", "Subject")


def parse(data: bytes, out: TextBuilder) -> None:
    """The message; its plain form if it has one, else its HTML."""
    message = BytesParser(policy=policy.default).parsebytes(data)
    assert isinstance(message, EmailMessage)
    out.begin_section(header(message, "Subject"))
    for name in HEADERS:
        if value := header(message, name):
            out.add(f"{name}: {value}\n")
    out.end_block()
    body = message.get_body(preferencelist=("plain", "html"))
    if isinstance(body, EmailMessage):
        write_body(body, out)
    attachments = [part.get_filename() or part.get_content_type() for part in message.iter_attachments()]
    if attachments:
        out.end_block()
        out.add(f"Attachments: {', '.join(attachments)}\n")
        out.note(f"Attachments are named but not read: {', '.join(attachments[:5])}.")


def header(message: EmailMessage, name: str) -> str:
    """A header in one line; what is malformed is empty."""
    try:
        return " ".join(str(message.get(name, "")).split())
    except (ValueError, IndexError, AttributeError, TypeError, LookupError):  # the parser of headers has its holes
        return ""


def write_body(body: EmailMessage, out: TextBuilder) -> None:
    """Decode a part, and drop its tags where it has them."""
    try:
        text = str(body.get_content())
    except LookupError:  # an encoding that nobody knows
        payload = body.get_payload(decode=True)
        text = payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""
    if body.get_content_type() == "text/html":
        read_markup(text, out)
    else:
        out.add(text)
