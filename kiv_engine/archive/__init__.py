"""The sample archive: a fictional town's papers, as long as wanted, with unique facts and their questions.

It is the demo document and the haystack of tests and benchmarks. The same seed, size and tokenizer give the same bytes
on every platform: the only source of chance is `random.Random(seed).random()`, whose sequence Python guarantees.

From the outside in: `write_archive` cuts to a number of tokens what a `Writer` writes section by section; a section is
a heading and some paragraphs; a paragraph is drawn from the sentence grammar in `WORDS`, `COMMON` and `KINDS`; about
every thousand characters a `FactSource` puts in one fact.
"""

from kiv_engine.archive.binding import MIN_TOKENS, Archive, CountTokens, absent_questions, write_archive
from kiv_engine.archive.facts import ArchiveFact

__all__ = ["MIN_TOKENS", "Archive", "ArchiveFact", "CountTokens", "absent_questions", "write_archive"]
