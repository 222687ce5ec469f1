"""An answer's figures and what it was made with, in words: for the line below it, the demo, and exported files."""

from typing import Final

from PySide6.QtCore import QCoreApplication

from app.figures import as_duration, as_rate
from app.settings import DEMO, AnswerSettings
from kiv_engine.events import AnswerFinished, FinishReason

NO_BREAK_SPACE: Final = "\u00a0"


def tr(text: str) -> str:
    """In the user's language."""
    return QCoreApplication.translate("AnswerSettings", text)


def settings_words(made: AnswerSettings) -> tuple[str, ...]:
    """A part each: the model, how words were drawn, what they saw of the documents, how those were read and kept."""
    model = tr("the built-in model") if made.model == DEMO else made.model
    names = {
        "none": "",
        "bf16": tr(" in bfloat16"),
        "fp16": tr(" in float16"),
        "8bit": tr(" in 8 bit"),
        "4bit": tr(" in 4 bit"),
    }
    weights = names[made.quantize]
    dtypes = {"int8": tr("old keys and values in 8 bit"), "model": tr("old keys and values as the model made them")}
    modes = {
        "exact": tr("documents read exactly"),
        "sparse": tr("documents read sparsely"),
        "window": tr("documents read by window"),
    }
    parts = (
        tr("Made with {0}").format(model + weights),
        sampling_words(made),
        tr("{0:,} old tokens fetched for each word, {1:,} newest seen in full").format(
            made.retrieved_tokens, made.hot_tokens
        ),
        dtypes.get(made.store_dtype, dtypes["model"]),
        modes.get(made.prefill, ""),
    )
    return tuple(filter(None, parts))


def sampling_words(made: AnswerSettings) -> str:
    """How words were drawn; what is off is left out."""
    sampling = made.sampling
    if sampling.temperature == 0:
        parts = [tr("always the likeliest token")]
    else:
        parts = [tr("temperature {0:g}").format(sampling.temperature)]
        parts += [tr("top k {0:,}").format(sampling.top_k)] * (sampling.top_k > 0)
        parts += [tr("top p {0:g}").format(sampling.top_p)] * (sampling.top_p < 1)
        parts += [tr("min p {0:g}").format(sampling.min_p)] * (sampling.min_p > 0)
        parts += [tr("seed {0}").format(sampling.seed)] * (sampling.seed is not None)
    parts += [tr("repetition penalty {0:g}").format(sampling.repetition_penalty)] * (sampling.repetition_penalty != 1)
    return ", ".join([*parts, tr("at most {0:,} tokens").format(sampling.max_new_tokens)])


def unbroken_parts(line: str) -> str:
    """The same for a label that breaks lines: only behind a dot, never between a number and its unit."""
    joined = line.replace(" ", NO_BREAK_SPACE)
    return joined.replace(f"{NO_BREAK_SPACE}·{NO_BREAK_SPACE}", f"{NO_BREAK_SPACE}· ")


def reason_of_end(reason: FinishReason) -> str:
    """Why an answer ended, for a person."""
    reasons: dict[FinishReason, str] = {
        "stop": tr("ended by itself"),
        "length": tr("reached its length limit"),
        "stop_string": tr("ended at a stop text"),
        "cancelled": tr("stopped by you"),
    }
    return reasons[reason]


def reading_line(answer: AnswerFinished) -> str:
    """How much of what the model had before it was there already."""
    read = answer.prompt_tokens - answer.reused_tokens
    return tr("{0:,} tokens were read for it; {1:,} had been read before").format(read, answer.reused_tokens)


def footer_line(answer: AnswerFinished) -> str:
    """Like: 92 tokens/s · first word after 0.05 s · 36 tokens · ended by itself. Without a word: why it ended."""
    if not answer.answer_tokens:
        return reason_of_end(answer.finish_reason)
    one = answer.answer_tokens == 1
    parts = (
        as_rate(answer.decode_tokens_per_s),
        tr("first word after {0}").format(as_duration(answer.first_token_s)),
        tr("1 token") if one else tr("{0:,} tokens").format(answer.answer_tokens),
        reason_of_end(answer.finish_reason),
    )
    return " · ".join(parts)
