"""What became of the sections that a question is asked of, in words: while it is answered, and below its answer."""

from PySide6.QtCore import QCoreApplication

from app.figures import as_ranges
from app.reports import SectionProgress


def tr(text: str) -> str:
    """In the user's language."""
    return QCoreApplication.translate("Sections", text)


def section_place() -> str:
    """Which section it is of how many, to be filled in."""
    return tr("Section {0:,} of {1:,}")


def section_line(sections: SectionProgress) -> str:
    """How far it is."""
    number = min(sections.ended + 1, sections.total)
    if not sections.silent:
        return tr("Section {0:,} of {1:,}; Esc stops").format(number, sections.total)
    line = tr("Section {0:,} of {1:,}, nothing found in {2:,} so far; Esc stops")
    return line.format(number, sections.total, len(sections.silent))


def with_sections(answer: str, sections: SectionProgress | None) -> str:
    """An answer, and parted from its last section a line about the sections that have no text in it."""
    line = " ".join(account(sections)) if sections else ""
    return "\n\n---\n\n".join(filter(None, (answer.strip(), line))) if line else answer


def account(sections: SectionProgress) -> list[str]:
    """A sentence for each thing that is to be known; none if each section has a text of its own."""
    sentences = []
    if sections.ended < sections.total:
        sentences.append(tr("Read to the end: {0:,} of {1:,} sections.").format(sections.ended, sections.total))
    if sections.silent:
        sentences.append(silence(sections))
    for first, numbers in sections.again:
        line = tr("The answer of section {0} came again in {1:,} of {2:,} sections ({3}).")
        sentences.append(line.format(first, len(numbers), sections.ended, as_ranges(numbers)))
    return sentences


def silence(sections: SectionProgress) -> str:
    """In which sections nothing was found."""
    count, where = len(sections.silent), as_ranges(sections.silent)
    if sections.ended < sections.total:
        return tr("Nothing found in {0:,} of them ({1}).").format(count, where)
    if count == sections.total:
        return tr("Nothing found in any of the {0:,} sections.").format(count)
    return tr("Nothing found in {0:,} of {1:,} sections ({2}).").format(count, sections.total, where)
