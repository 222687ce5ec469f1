"""What an answer was made with, in words: for the line below it, and for the files that chats are exported to."""

from PySide6.QtCore import QCoreApplication

from app.settings import DEMO, AnswerSettings


def tr(text: str) -> str:
    """In the user's language."""
    return QCoreApplication.translate("AnswerSettings", text)


def settings_words(made: AnswerSettings) -> tuple[str, ...]:
    """A part each: the model, how words were drawn, what they saw of the documents, how those were read and kept."""
    model = tr("the built-in model") if made.model == DEMO else made.model
    weights = {"none": "", "8bit": tr(" in 8 bit"), "4bit": tr(" in 4 bit")}[made.quantize]
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
