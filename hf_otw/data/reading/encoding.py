"""Turn the bytes of a text file into UTF-8, whatever encoding they are in."""

from __future__ import annotations

import codecs
from typing import NamedTuple

from charset_normalizer import from_bytes

#: Longest first: the mark of UTF-32 begins with that of UTF-16.
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: Share of zero bytes on one side of the pairs above which a file without a mark is UTF-16.
ZEROS = 0.3
#: Encoding of Western Europe and of most old files from Windows; latin-1 is a part of it.
WESTERN = "cp1252"
#: Encodings that a file may be in. Every byte string is valid in many others, which are hardly in use.
CANDIDATES = [
    "cp1250",
    "cp1251",
    "cp1253",
    "cp1255",
    "cp1256",
    "koi8_r",
    "cp932",
    "euc_jp",
    "gb18030",
    "big5",
    "cp949",
]
#: First code point after the Latin letters.
NOT_LATIN = 0x370
#: Bytes that the detection looks at.
SAMPLE = 200_000
#: Share of symbols inside of words above which Western European text was written in a Central European encoding.
MISREAD = 0.1


class Decoded(NamedTuple):
    """A text file.

    Attributes:
        content: as UTF-8, without a byte order mark.
        encoding: that it was in.
        note: what a person should know of the detection; empty where nothing was guessed.
    """

    content: bytes
    encoding: str
    note: str = ""


def decoded(content: bytes, encoding: str | None = None) -> Decoded:
    """Decode the bytes of a text file.

    A byte order mark decides; without one, UTF-8 where it is valid, UTF-16 where every other byte is zero, and else
    the encoding that `charset-normalizer` detects. In a file that is UTF-8 but for some lines, only
    these are decoded so.

    Args:
        content: of the file.
        encoding: a codec of Python; detected by default.

    Raises:
        ValueError: an unknown encoding, or bytes that are invalid in it.
    """
    if encoding is not None:
        return Decoded(as_utf8(content, encoding), encoding)
    for mark, name in MARKS:
        if content.startswith(mark):
            return Decoded(as_utf8(content, name), name)
    wide = utf_16(content)
    if wide is not None:
        return Decoded(as_utf8(content, wide), wide, f"Encoding {wide}, detected.")
    if is_utf8(content):
        return Decoded(content, "utf-8")
    return legacy(content)


def as_utf8(content: bytes, encoding: str) -> bytes:
    """Decode and encode again."""
    try:
        return content.decode(encoding).removeprefix("\ufeff").encode("utf-8")
    except LookupError as error:
        raise ValueError(f"Expected an encoding that Python knows, such as cp1252, got {encoding!r}.") from error
    except UnicodeError as error:
        raise ValueError(
            f"Expected text in {encoding}, but it does not decode: {error}. Name another encoding."
        ) from error


def is_utf8(content: bytes) -> bool:
    """Whether all bytes are valid UTF-8."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def utf_16(content: bytes) -> str | None:
    """UTF-16 without a byte order mark: Latin letters have a zero byte each."""
    sample = content[: SAMPLE - SAMPLE % 2]
    if len(sample) < 4:
        return None
    first, second = (sample[side::2].count(0) / len(sample[side::2]) for side in (0, 1))
    if second > ZEROS and first < ZEROS / 10:
        return "utf-16-le"
    return "utf-16-be" if first > ZEROS and second < ZEROS / 10 else None


def legacy(content: bytes) -> Decoded:
    """Decode what is not UTF-8, or not everywhere."""
    lines = content.split(b"\n")
    foreign = [number for number, line in enumerate(lines) if not is_utf8(line)]
    in_utf8 = sum(not line.isascii() for line in lines) - len(foreign)
    encoding = detected(b"\n".join(lines[number] for number in foreign))
    for number in foreign:
        lines[number] = lines[number].decode(encoding, errors="replace").encode("utf-8")
    if in_utf8:
        where = ", ".join(str(number + 1) for number in foreign[:5]) + (", ..." if len(foreign) > 5 else "")
        note = f"{len(foreign):,} lines are not UTF-8 (line {where}) and were read as {encoding}."
        return Decoded(b"\n".join(lines), "utf-8", note)
    return Decoded(b"\n".join(lines), encoding, f"Encoding {encoding}, detected; --encoding names another.")


def detected(content: bytes) -> str:
    """The encoding of bytes that are not UTF-8.

    Short texts in Latin letters are valid in several encodings that the detection cannot tell apart; then it is
    `WESTERN`, unless that puts symbols inside of words.
    """
    found = from_bytes(content[:SAMPLE], cp_isolation=[WESTERN, *CANDIDATES]).best()
    if found is None:
        return WESTERN
    beyond = [letter for letter in str(found) if not letter.isascii()]
    if sum(ord(letter) >= NOT_LATIN for letter in beyond) > len(beyond) / 2:
        return found.encoding
    return found.encoding if symbols_in_words(content[:SAMPLE]) > MISREAD else WESTERN


def symbols_in_words(content: bytes) -> float:
    """Share, of the characters beyond ASCII, of symbols next to a letter, where the text is read as `WESTERN`."""
    text = content.decode(WESTERN, errors="replace")
    beyond = [place for place, letter in enumerate(text) if not letter.isascii()]
    symbols = [place for place in beyond if text[place] in "¹³¿£¥¢¯¼¾\ufffd" and text[place + 1 : place + 2].isalpha()]
    return len(symbols) / max(1, len(beyond))
