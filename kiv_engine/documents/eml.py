"""E-mail: who, when and about what, then the text; attachments are named."""

from collections.abc import Iterator
from email import policy
from email.message import EmailMessage, MIMEPart
from email.parser import BytesParser
from typing import Final

from kiv_engine.documents.html import parse as parse_page
from kiv_engine.documents.html import read_markup
from kiv_engine.documents.plain import parse as parse_text
from kiv_engine.documents.text_builder import TextBuilder

HEADERS: Final = ("From", "To", "Cc", "Date", "Subject")
FORMS: Final = ("text/plain", "text/html")
ASCII: Final = "us-ascii"


def parse(data: bytes, out: TextBuilder) -> None:
    """The message; its plain form if it has one, else its HTML."""
    message = BytesParser(policy=policy.default).parsebytes(data)
    assert isinstance(message, EmailMessage)
    out.begin_section(header(message, "Subject"))
    for name in HEADERS:
        if value := header(message, name):
            out.add(f"{name}: {value}\n")
    out.end_block()
    body = find_body(message)
    if body is not None:
        write_body(body, out)
    attachments = [part.get_filename() or part.get_content_type() for part in unread_parts(message, body)]
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


def find_body(message: EmailMessage) -> EmailMessage | None:
    """The plain form, or the HTML where that one is missing or blank."""
    for form in FORMS:
        body = part_of_form(message, form)
        if isinstance(body, EmailMessage) and content(body).strip():
            return body
    return None


def part_of_form(message: EmailMessage, form: str) -> MIMEPart | None:
    """The part that is the message in this form; the first of its kind where a part lacks the parts it announces."""
    try:
        return message.get_body(preferencelist=(form.removeprefix("text/"),))
    except AttributeError:  # the library takes the text of such a part for a list of parts
        return next((part for part in message.walk() if part.get_content_type() == form), None)


def unread_parts(part: MIMEPart, body: MIMEPart | None, alternative: bool = False) -> Iterator[MIMEPart]:
    """What is in a part beside the body and the other forms of it."""
    if part.is_multipart() and part.get_content_maintype() == "multipart":
        alternative = alternative or part.get_content_subtype() == "alternative"
        for inner in part.iter_parts():
            yield from unread_parts(inner, body, alternative)
    elif part is not body and not (alternative and part.get_content_type() in FORMS and not part.get_filename()):
        yield part


def content(part: EmailMessage) -> bytes:
    """What is in a part, its transfer encoding undone."""
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def write_body(body: EmailMessage, out: TextBuilder) -> None:
    """Decode a part, and drop its tags where it has them."""
    payload, charset = content(body), body.get_content_charset(ASCII)
    is_page = body.get_content_type() == "text/html"
    try:
        text = payload.decode(charset, "strict" if charset == ASCII else "replace")
    except (LookupError, ValueError):  # it says nothing of its encoding, or nothing true
        (parse_page if is_page else parse_text)(payload, out)
    else:
        if is_page:
            read_markup(text, out)
        else:
            out.add(text)
