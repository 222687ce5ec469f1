"""Tiny random models with a tokenizer of single characters: whole contexts in milliseconds, for any family."""

from functools import cache
from typing import Final

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, PreTrainedTokenizerBase, TokenizersBackend

from kiv_engine.loader import LoadedModel
from tests.engine.families import VOCABULARY, model_of

END: Final = "<|end|>"
TEMPLATE: Final = (
    "{% for m in messages %}{{ m['role'][0] + ':' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'a:' }}{% endif %}"
)


@cache
def tokenizer(template: str | None = TEMPLATE) -> PreTrainedTokenizerBase:
    """One token per character, and one control token that ends every message."""
    letters = "\n" + "".join(map(chr, range(32, 127)))
    backend = Tokenizer(models.WordLevel({letter: index for index, letter in enumerate(letters)}, unk_token="?"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    backend.decoder = decoders.Fuse()
    backend.add_special_tokens([AddedToken(END, special=True, normalized=False)])
    wrapped = TokenizersBackend(tokenizer_object=backend, eos_token=END, unk_token="?")
    wrapped.chat_template = template
    assert len(wrapped) == VOCABULARY
    return wrapped


def loaded(family: str, template: str | None = TEMPLATE) -> LoadedModel:
    """A family's tiny model as if it had been loaded."""
    return LoadedModel(model_of(family), tokenizer(template), family, torch.device("cpu"), GenerationConfig())
