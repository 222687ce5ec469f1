"""How the built-in model's tokenizer reads lines: a line that is wrapped goes on, another one begins like a sentence.

Wrapped prose has a line break wherever a line is full. The tokenizer reads such a break as a space, so that the model
reads the same tokens however wide the lines were; what it copies, it says with spaces. Behind any other break it puts a
space, and takes it away again where it decodes: a word has the same tokens wherever it stands.
"""

from typing import Final

from tokenizers import Regex, Tokenizer, decoders, normalizers

FULL_LINE: Final = 45
"""Characters of a line that may be wrapped, at least."""
WRAPS: Final = "\ufdd0"
"""In the place of a break inside of wrapped prose, while others are looked for. No text has it: it is no character."""
NEAR: Final = 400
"""Characters in which a line that begins with a small letter tells that others, too, are wrapped."""
_ENDS: Final = "[.!?]"
_LINE: Final = rf"[^\n{WRAPS}]"
_FULL: Final = rf"{_LINE}{{{FULL_LINE - 1}}}[^\n{WRAPS}:]"
_GOES_ON: Final = r"""(?=["“‘'(A-Z0-9])(?!(?<![a-z,]\n)\d+[.)]\s)"""
"""How a line begins that goes on with a sentence if lines near by begin with small letters; but not a numbered one."""
WRAPPED: Final = (
    rf"(?<=[^\n]{{{FULL_LINE}}})(?<!{_ENDS})(?<!{_ENDS}[\"”])\n(?=[a-z])",
    rf"(?<={_FULL})\n{_GOES_ON}(?=[^{WRAPS}]{{0,{NEAR}}}{WRAPS})",
    rf"{WRAPS}[^{WRAPS}]{{0,{NEAR}}}?{_FULL}\K\n{_GOES_ON}",
)
"""Breaks behind full lines: before a small letter, if no sentence ends there, and not far before and behind such a
break."""


def read_lines(tokenizer: Tokenizer) -> None:
    """Give the tokenizer what it does with line breaks."""
    replaced = [(Regex(pattern), WRAPS) for pattern in WRAPPED]
    replaced += [(Regex(WRAPS), " "), (Regex(r"\n(?=[^\n])"), "\n ")]
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(*each) for each in replaced])
    space = decoders.Replace(Regex(r"\n (?=[^\n])"), "\n")
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), space])
