"""Files as people have them: each is read right, or refused with what is wrong with it."""

# ruff: noqa: E501  # a file a line
from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from hf_otw.audit.columns import Columns
from hf_otw.audit.labelled import Labelled, load_labelled

WORDS = {"sad": "tears rain grey", "glad": "sun smile song"}
WORD = ["red", "green", "blue", "grey"]
ROWS = [(f"{WORDS[name]} number {k}", name) for k in range(6) for name in WORDS]


class Case(NamedTuple):
    """A file and what comes of it.

    Attributes:
        content: of the file.
        labels: of the rows that are used; None where the file is refused.
        told: a part of what is said; of the message of a refusal.
        texts: the first texts, where the file is about these.
        suffix: of the file's name.
        columns: that are asked for.
    """

    content: bytes
    labels: list[str] | None
    told: str = ""
    texts: list[str] = []
    suffix: str = ".csv"
    columns: Columns = Columns()


def lines(*rows: str, end: str = "\n") -> bytes:
    return (end.join(rows) + end).encode()


def table(rows: list[tuple[str, str]] = ROWS, delimiter: str = ",", header: str = "text,label") -> str:
    head = header.replace(",", delimiter)
    rows = [(f"{text * 3} word {text * 2}" if len(text.strip()) == 1 else text, label) for text, label in rows]
    return "\n".join([head, *(f"{text}{delimiter}{label}" for text, label in rows)]) + "\n"


def all_labels(rows: list[tuple[str, str]] = ROWS) -> list[str]:
    return [label for _, label in rows]


FRENCH = [
    ("le café est fermé", "déçu"),
    ("quel été à la plage", "gai"),
    ("encore fermé à midi", "déçu"),
    ("très bon thé", "gai"),
]
RUSSIAN = [("очень хороший фильм про войну и мир", "да"), ("плохая книга и скучный сюжет", "нет")] * 4
QUOTED = 'text,label\n"two\nlines",a\n"a ""word"", quoted",b\nplain,a\nother,b\n'
FOUR = [("x one", "a"), ("y two", "b"), ("x three", "a"), ("y four", "b")]
CASES: dict[str, Case] = {
    "plain": Case(table().encode(), all_labels()),
    "byte order mark": Case(table().encode("utf-8-sig"), all_labels()),
    "utf-16 with mark": Case(table().encode("utf-16"), all_labels()),
    "utf-16 little end, no mark": Case(table().encode("utf-16-le"), all_labels(), "Encoding utf-16-le"),
    "utf-16 big end, no mark": Case(table().encode("utf-16-be"), all_labels(), "Encoding utf-16-be"),
    "utf-32": Case(table().encode("utf-32"), all_labels()),
    "latin-1": Case(table(FRENCH).encode("latin-1"), all_labels(FRENCH), "Encoding cp1252", [FRENCH[0][0]]),
    "cp1252": Case(table([("l’été – «déjà»", "a"), ("œuvre", "b")] * 2).encode("cp1252"), ["a", "b"] * 2, "cp1252", ["l’été – «déjà»"]),
    "cp1251": Case(table(RUSSIAN).encode("cp1251"), all_labels(RUSSIAN), "Encoding cp1251", [RUSSIAN[0][0]]),
    "one foreign line": Case(
        table(FRENCH).encode() + "größer,gai\n".encode("cp1252"),
        [*all_labels(FRENCH), "gai"],
        "1 lines are not UTF-8 (line 6)",
        [FRENCH[0][0]],
    ),
    "semicolons": Case(table(delimiter=";").encode(), all_labels(), "separated by semicolon"),
    "semicolons and commas": Case(lines("text;label", "one, two and three;x", "four, five;y", "six, seven, one;x", "two four;y"), ["x", "y"] * 2, "semicolon", ["one, two and three"]),
    "tabs called csv": Case(table(delimiter="\t").encode(), all_labels(), "separated by tab"),
    "tabs called tsv": Case(table(delimiter="\t").encode(), all_labels(), suffix=".tsv"),
    "bars": Case(table(delimiter="|").encode(), all_labels(), "separated by bar"),
    "sep line": Case(b"sep=;\r\n" + table(delimiter=";").encode(), all_labels(), "semicolon"),
    "line ends of Windows": Case(table().replace("\n", "\r\n").encode(), all_labels()),
    "line ends of an old Macintosh": Case(table().replace("\n", "\r").encode(), all_labels()),
    "no last line end": Case(table().encode()[:-1], all_labels()),
    "quoted line ends": Case(QUOTED.encode(), ["a", "b", "a", "b"], texts=["two\nlines", 'a "word", quoted']),
    "empty lines": Case(table().replace("\n", "\n\n").encode(), all_labels()),
    "blank labels": Case(table([*FOUR, ("z", ""), ("w", "  ")]).encode(), ["a", "b"] * 2, "2 of 6 rows (no label), rows 4, 5"),
    "blank number labels": Case(table([("x", "1"), ("y", ""), ("z", "0"), ("w", "1"), ("v", "0")]).encode(), ["1", "0", "1", "0"], "1 of 5 rows (no label), row 1"),
    "blank texts": Case(table([*FOUR, ("", "a"), ("  ", "b")]).encode(), ["a", "b"] * 2, "2 of 6 rows (empty), rows 4, 5"),
    "rows of delimiters": Case(table(FOUR).encode() + b",\n,\n", ["a", "b"] * 2, "2 of 6 rows (no label)"),
    "a class of one row": Case(table([*FOUR, ("z", "rare")]).encode(), ["a", "b"] * 2, "only one of its class: ['rare']"),
    "float labels": Case(table([("x", "1.0"), ("y", "2.0")] * 2).encode(), ["1", "2"] * 2),
    "float labels with gaps": Case(table([("x", "1.0"), ("y", "2.0"), ("z", "")] * 2).encode(), ["1", "2"] * 2, "no label"),
    "01 is not 1": Case(table([("x", "01"), ("y", "1")] * 2).encode(), ["01", "1"] * 2),
    "007 and 7.0": Case(table([("x", "007"), ("y", "7.0")] * 2).encode(), ["007", "7.0"] * 2),
    "numbers in order": Case(table([("x", "10"), ("y", "9")] * 2).encode(), ["10", "9"] * 2),
    "labels of 65 bits": Case(table([("x", str(2**64)), ("y", str(2**65))] * 2).encode(), [str(2**64), str(2**65)] * 2),
    "true and false": Case(table([("x", "true"), ("y", "false")] * 2).encode(), ["true", "false"] * 2),
    "NA is a class": Case(table([("x", "NA"), ("y", "EU")] * 2).encode(), ["NA", "EU"] * 2),
    "spaces around labels": Case(table([("x", " a"), ("y", "b "), ("z", "a"), ("w", "b")]).encode(), ["a", "b"] * 2),
    "alike labels": Case(table([("x", "Refund"), ("y", "refund")] * 2).encode(), ["Refund", "refund"] * 2, "differ in case or spaces only"),
    "the longest text": Case(lines("id,subject,body,label", *(f"t{k},hi,a longer text {WORD[k]},{'ab'[k % 2]}" for k in range(4))), ["a", "b"] * 2, "the column 'body'", ["a longer text red"]),
    "two texts": Case(lines("subject,body,label", "hi,there,a", "ho,,b", "hu,da,a", "he,di,b"), ["a", "b"] * 2, texts=["hi\nthere", "ho"], columns=Columns(text=("subject", "body"))),
    "columns of numbers": Case(lines("g1,g2,label", "1,2.5,a", "2,1e3,b", "3,-1,a", "4,0,b"), ["a", "b"] * 2, columns=Columns(features=("g*",))),
    "formula labels": Case(table([("x", "=1+1"), ("y", "@b")] * 2).encode(), ["=1+1", "@b"] * 2),
    "emoji": Case(table([("\U0001f600 hi", "\U0001f600"), ("so sad", "\U0001f622")] * 2).encode(), ["\U0001f600", "\U0001f622"] * 2),
    "json lines": Case("".join(json.dumps({"text": t, "label": n}) + "\n" for t, n in ROWS).encode(), all_labels(), suffix=".jsonl"),
    "json lines with mark": Case("".join(json.dumps({"text": t, "label": n}) + "\n" for t, n in ROWS).encode("utf-8-sig"), all_labels(), suffix=".jsonl"),
    "json list": Case(json.dumps([{"text": t, "label": n} for t, n in ROWS]).encode(), all_labels(), suffix=".json"),
    "json list in utf-16": Case(json.dumps([{"text": t, "label": n} for t, n in ROWS]).encode("utf-16"), all_labels(), suffix=".json"),
    "null labels": Case(json.dumps([*({"text": t, "label": k % 2} for k, (t, _) in enumerate(ROWS)), {"text": "x", "label": None}]).encode(), ["0", "1"] * 6, "1 of 13 rows (no label), row 12", suffix=".json"),
    # Refused.
    "empty file": Case(b"", None, "got an empty file"),
    "header only": Case(b"text,label\n", None, "Expected two classes or more"),
    "fractions": Case(table([("x", "0.5"), ("y", "1.5")] * 2).encode(), None, "a word or a whole number, in the column 'label', got 0.5"),
    "one class": Case(table([("x", "a"), ("y", "a")]).encode(), None, "Expected two classes or more"),
    "a column twice": Case(lines("text,label,label", "a,b,c"), None, "got 'label' several times"),
    "rows of several lengths": Case(lines("text,label", "a,b", "c,d,e"), None, "Expected 2 columns, got 3"),
    "space in a name": Case(table(header="text,Queue ").encode(), None, "Did you mean 'Queue '?", columns=Columns("Queue")),
    "case of a name": Case(table(header="text,Queue").encode(), None, "Did you mean 'Queue'?", columns=Columns("queue")),
    "wrong name of texts": Case(table(header="body,label").encode(), None, "Did you mean 'body'?", columns=Columns(text=("bodi",))),
    "no such column": Case(table().encode(), None, "Name one of these", columns=Columns("zzz")),
    "json that is no list": Case(b'{"a": 1}', None, "expected a list of objects", suffix=".json"),
    "deep json": Case(b"[" * 100_000, None, "nested too deep", suffix=".json"),
    "cut json lines": Case(b'{"text": "a", "label": "b"}\n{"text": ', None, "does not parse", suffix=".jsonl"),
    "no parquet": Case(b"PAR1 nothing", None, "does not parse", suffix=".parquet"),
    "a workbook": Case(b"PK\x03\x04", None, "Expected a file that ends with .csv", suffix=".xlsx"),
}  # fmt: skip


def read(path: Path, columns: Columns, told: list[str]) -> Labelled:
    return load_labelled(str(path), columns, tell=told.append)


@pytest.mark.parametrize("name", CASES)
def test_a_file_is_read_right_or_refused(name: str, tmp_path: Path) -> None:
    """Kills: labels of bytes, merged classes, rows lost without a word, a refusal that does not say why."""
    case = CASES[name]
    path = tmp_path / f"rows{case.suffix}"
    path.write_bytes(case.content)
    told: list[str] = []
    if case.labels is None:
        with pytest.raises(ValueError, match=".") as error:
            read(path, case.columns, told)
        assert case.told in str(error.value)
        return
    found = read(path, case.columns, told)
    assert [found.class_names[k] for k in found.labels] == case.labels
    assert case.told in " ".join(told)
    if not case.told:
        assert told == []
    for expected, text in zip(case.texts, found.texts or [], strict=False):
        assert text == expected


def test_there_are_enough_files() -> None:
    assert len(CASES) >= 40


def test_whole_numbers_are_in_order(tmp_path: Path) -> None:
    """Kills: 10 before 9."""
    (tmp_path / "a.csv").write_bytes(CASES["numbers in order"].content)
    assert read(tmp_path / "a.csv", Columns(), []).class_names == ["9", "10"]


def test_categories_and_class_labels_have_names(tmp_path: Path) -> None:
    """Kills: classes called 0 and 1 where the file has names, and unlabelled rows taken for the last class."""
    column = pa.array(["a", "b", "a", "b"]).dictionary_encode()
    pa.parquet.write_table(pa.table({"text": WORD, "label": column}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", Columns(), []).class_names == ["a", "b"]
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    rows = Dataset.from_dict({"text": [*WORD, "brown"], "label": [0, 1, 0, 1, -1]}, features)
    rows.save_to_disk(tmp_path / "saved")
    told: list[str] = []
    found = read(tmp_path / "saved", Columns(), told)
    assert found.class_names == ["no", "yes"]
    assert found.index.tolist() == [0, 1, 2, 3]
    assert "no label" in told[0]


def test_a_wide_file_and_a_long_field_are_read(tmp_path: Path) -> None:
    """Kills: a data set of 20,000 columns, and a block that is smaller than a row."""
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 9, (4, 20_000))
    rows = [",".join(map(str, row)) + f",text {WORD[k]},{'ab'[k % 2]}" for k, row in enumerate(numbers)]
    (tmp_path / "wide.csv").write_bytes(lines(",".join([*(f"c{k}" for k in range(20_000)), "text", "label"]), *rows))
    found = read(tmp_path / "wide.csv", Columns(text=("text",)), [])
    assert len(found.frame.columns) == 20_002
    long = "word and " * 2_300_000
    (tmp_path / "long.csv").write_bytes(
        lines("text,label", f'"{long}",a', "other words,b", "and word,a", "more other words,b")
    )
    found = read(tmp_path / "long.csv", Columns(), [])
    assert found.texts is not None
    assert found.texts[0] == long


def test_an_encoding_can_be_named(tmp_path: Path) -> None:
    """Kills: --encoding that is parsed and ignored."""
    (tmp_path / "a.csv").write_bytes(table(RUSSIAN).encode("koi8_r"))
    found = load_labelled(str(tmp_path / "a.csv"), Columns(), encoding="koi8_r")
    assert found.texts is not None
    assert found.texts[0] == RUSSIAN[0][0]
    with pytest.raises(ValueError, match="Expected an encoding that Python knows"):
        load_labelled(str(tmp_path / "a.csv"), Columns(), encoding="klingon")
    with pytest.raises(ValueError, match="Expected text in utf-8, but it does not decode"):
        load_labelled(str(tmp_path / "a.csv"), Columns(), encoding="utf-8")


def test_trusted_rows_that_are_the_rows_are_refused(tmp_path: Path) -> None:
    """Kills: a meta set that is the training set, under its own name or another."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_bytes(table().encode())
    for other in ("a", "b"):
        with pytest.raises(ValueError, match="got the rows themselves"):
            load_labelled(str(tmp_path / "a.csv"), Columns(), meta=str(tmp_path / f"{other}.csv"))
    (tmp_path / "few.csv").write_bytes(table([ROWS[0], (ROWS[1][0], "sad"), ("a new song", "glad")]).encode())
    found = load_labelled(str(tmp_path / "a.csv"), Columns(), meta=str(tmp_path / "few.csv"))
    assert found.known is not None
    assert found.known.tolist() == [1, -1, *[0] * 10]
