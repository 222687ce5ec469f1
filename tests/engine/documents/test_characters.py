"""Encodings: what is UTF-8 is taken as such, what says its encoding is believed, the rest is guessed and told."""

import pytest

from kiv_engine.documents.characters import decode
from kiv_engine.documents.limits import Limits
from kiv_engine.documents.text_builder import UnreadableError
from kiv_engine.documents.worker import parse

GERMAN = "Die Gänse wurden heute früh gezählt. Es waren über dreißig, wie jeden Tag im Frühjahr.\n" * 20
FRENCH = "Les oies ont été comptées à midi, dès l'été, où l'on fête le garçon ; ça coûte dix € à Noël.\n" * 20
SPANISH = "Los gansos fueron contados al mediodía. ¿Cuántos años tiene el niño? ¡Mañana será otro día!\n" * 20
POLISH = "Gęsi policzono w południe. Było ich trzydzieści jeden, jak każdego dnia; źle, że nie więcej.\n" * 20
CZECH = "Husy byly spočítány v poledne. Bylo jich třicet jedna, jako každý den; žluťoučký kůň úpěl.\n" * 20
TURKISH = "Kazlar öğlen sayıldı. Her gün olduğu gibi otuz bir taneydi; şişman çocuk ığdır.\n" * 20
GREEK = "Οι χήνες μετρήθηκαν το μεσημέρι. Ήταν τριάντα μία, όπως κάθε μέρα.\n" * 20
CHINESE = "鹅在中午被数过了。像每天一样有三十一只。\n" * 20
KOREAN = "거위는 정오에 세어졌다. 매일처럼 서른한 마리였다.\n" * 20
RUSSIAN = "Гуси были сосчитаны в полдень. Их было тридцать один, как и в любой другой день.\n" * 20
JAPANESE = "ガチョウは正午に数えられました。毎日のように三十一羽いました。\n" * 20


@pytest.mark.parametrize("text", ["plain", GERMAN, RUSSIAN, JAPANESE, "👩‍👩‍👧‍👦 family"])
def test_utf_8_needs_no_guess(text: str) -> None:
    assert decode(text.encode()) == (text, "")
    assert decode(b"\xef\xbb\xbf" + text.encode()) == (text, "")


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_marks_at_the_beginning_are_believed(codec: str) -> None:
    assert decode(("\ufeff" + RUSSIAN).encode(codec)) == (RUSSIAN, codec[:6].upper())


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_latin_utf_16_is_known_without_a_mark(codec: str) -> None:
    assert decode(GERMAN.encode(codec)) == (GERMAN, "UTF-16")


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        (GERMAN, "cp1252"),
        (FRENCH, "cp1252"),
        (SPANISH, "cp1252"),
        (POLISH, "cp1250"),
        (CZECH, "cp1250"),
        (TURKISH, "cp1254"),
        (GREEK, "cp1253"),
        (RUSSIAN, "cp1251"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"),
        (CHINESE, "gb18030"),
        (KOREAN, "euc_kr"),
        ("Für Käse", "cp1252"),
        ("Die Gänse wurden gezählt. " * 20, "cp1252"),
    ],
)
def test_other_encodings_are_guessed_and_named(text: str, codec: str) -> None:
    data = text.encode(codec)
    found, name = decode(data)
    assert found == text
    assert data.decode(name) == text  # relatives of an encoding do as well


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("text", [GERMAN, RUSSIAN, JAPANESE, "Gänse für Käse, Brötchen: fünf\ufffd"])
def test_a_bad_byte_does_not_spoil_utf_8(text: str, mark: bytes) -> None:
    data = text.encode()
    assert decode(mark + data + b"\xff") == (text + "\ufffd", "UTF-8 (damaged places: 1)")


def test_a_page_that_says_utf_8_keeps_it_in_spite_of_a_bad_byte() -> None:
    parsed = parse(b"<meta charset='utf-8'><p>\xff" + GERMAN.encode(), "a.html", Limits())
    assert parsed.text.split() == ["\ufffd" + GERMAN.split()[0], *GERMAN.split()[1:]]
    assert parsed.notes == ("Its encoding was taken for UTF-8 (damaged places: 1).",)


def test_a_guess_looks_where_the_odd_bytes_are() -> None:
    text = "plain words only. " * 60_000 + GERMAN
    assert decode(text.encode("cp1252")) == (text, "windows-1252")


def test_windows_encodings_are_named_as_people_do() -> None:
    assert decode(b"caf\xe9 \x80") == ("café €", "windows-1252")


@pytest.mark.parametrize("data", [b"a\x00b", bytes(range(1, 32)) * 40, b"\x00" * 100, b"\x1b\x02\x03\x04" * 100])
def test_binary_data_is_no_text(data: bytes) -> None:
    with pytest.raises(UnreadableError, match="is not text"):
        decode(data)
