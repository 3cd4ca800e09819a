"""Data of texts: what is read as what, the vocabulary, what is refused, and which settings mean nothing."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from orchestrator.config.loading import load_config
from orchestrator.config.search_config import SearchConfig
from orchestrator.errors import ConfigError
from orchestrator.search.passed import PassedParts
from orchestrator.search.setup import SearchComponents
from tests.commands import run
from tests.documentation import ROOT
from tests.text_files import question_file, questions, write_csv, write_text_folders
from trainables.datasets import DataSplits, load_data
from trainables.folds import merge_validation
from trainables.image_arrays import DataError
from trainables.layers import PADDING, UNKNOWN
from trainables.loader import DeviceImages
from trainables.preprocessing import Preprocessing
from trainables.settings import DataSettings
from trainables.tasks.texts import TextReading
from trainables.text_files import MAX_CHARACTERS, TextError, read_text
from trainables.vocabulary import FIRST, Vocabulary, split_text


def load(root: Path, seed: int = 0, **settings: Any) -> DataSplits:
    return load_data(DataSettings(name="text", root=str(root), validation_fraction=0.25, **settings), seed=seed)


def vocabulary_of(splits: DataSplits) -> tuple[str, ...]:
    assert isinstance(splits.reading, TextReading)
    return splits.reading.vocabulary.units


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("What is the full form of .com ?", ["what", "is", "the", "full", "form", "of", ".", "com", "?"]),
        ("Don't\tstop\n--  don\u2019t!", ["don't", "stop", "-", "-", "don\u2019t", "!"]),
        ("'quoted' snake_case 3.14", ["'", "quoted", "'", "snake_case", "3", ".", "14"]),
        ("CAFE\u0301 \u00c9t\u00e9", ["caf\u00e9", "\u00e9t\u00e9"]),
        ("\u4f60\u597d, \U0001f600", ["\u4f60\u597d", ",", "\U0001f600"]),
    ],
)
def test_a_text_is_split_into_words_and_marks(text: str, words: list[str]) -> None:
    assert split_text(text, "words") == words


def test_a_text_is_split_into_characters() -> None:
    assert split_text(" Oh  No\n", "characters") == ["o", "h", " ", "n", "o"]


@pytest.mark.parametrize("lower_case", [True, False])
def test_the_case_of_letters_is_kept_on_demand(tmp_path: Path, lower_case: bool) -> None:
    texts = ["Turkey lies here", "the turkey lies here"] * 20
    path = write_csv(tmp_path / "a.csv", texts, ["place", "animal"] * 20)
    splits = load(path, lower_case=lower_case)
    found = [word for word in vocabulary_of(splits) if word.lower() == "turkey"]
    assert found == (["turkey"] if lower_case else ["Turkey", "turkey"])
    reading = TextReading.from_json(json.loads(json.dumps(splits.describe()))["reading"])
    assert reading == splits.reading
    files = [tmp_path / "one.txt", tmp_path / "two.txt"]
    for file, text in zip(files, ("Turkey", "turkey"), strict=True):
        file.write_text(text)
    one, two = (reading.read(file, size=(4,), channels=1).tolist() for file in files)
    assert (one == two) is lower_case


def test_the_vocabulary_is_of_frequent_units_in_one_order() -> None:
    texts = [["b", "a", "b"], ["c", "a", "d"]]
    assert Vocabulary.count(texts, "words", min_count=1, max_size=9).units == ("a", "b", "c", "d")
    assert Vocabulary.count(texts, "words", min_count=2, max_size=9).units == ("a", "b")
    found = Vocabulary.count(texts, "words", min_count=1, max_size=3)
    assert found.units == ("a", "b", "c")
    assert found.tokens == 5
    assert found.encode(["c", "d", "a"], 5).tolist() == [FIRST + 2, UNKNOWN, FIRST, PADDING, PADDING]
    assert found.encode(["c", "d", "a"], 2).tolist() == [FIRST + 2, UNKNOWN]


def test_a_table_is_split_and_numbered(tmp_path: Path) -> None:
    splits = load(question_file(tmp_path / "a.csv"))
    assert splits.classes == ("person", "place")
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [24, 8, 8]
    longest = max(len(split_text(text, "words")) for text in questions(40)[0])
    assert splits.train.images.shape == (24, longest, 1)
    assert splits.train.images.dtype == np.int32
    assert (splits.mean, splits.deviation) == ((), ())
    facts = json.loads(json.dumps(splits.describe()))
    assert facts["image_shape"] == [longest, 1]
    assert facts["reading"] == {
        "task": "text",
        "unit": "words",
        "lower_case": True,
        "vocabulary": list(vocabulary_of(splits)),
    }
    assert "24 training, 8 validation and 8 test texts" in splits.summary()


def test_the_vocabulary_is_of_the_training_texts_alone(tmp_path: Path) -> None:
    """Each text has a word of its own, which only the training texts may bring in."""
    texts, labels = questions(40)
    path = write_csv(tmp_path / "a.csv", [f"{text} mark{number}" for number, text in enumerate(texts)], labels)
    splits = load(path, min_count=1)
    words = vocabulary_of(splits)
    assert sum(word.startswith("mark") for word in words) == len(splits.train)
    for part, unknown in ((splits.train, 0), (splits.validation, 1), (splits.test, 1)):
        assert (np.bincount(np.nonzero(part.images[..., 0] == UNKNOWN)[0], minlength=len(part)) >= unknown).all()
    assert not (splits.train.images == UNKNOWN).any()
    assert not any(word.startswith("mark") for word in vocabulary_of(load(path)))


def test_the_length_does_not_depend_on_the_split(tmp_path: Path) -> None:
    texts, labels = questions(40)
    path = write_csv(tmp_path / "a.csv", [*texts[:-1], texts[-1] + " really" * 20], labels)
    assert len({load(path, seed=seed).train.images.shape[1] for seed in range(5)}) == 1


@pytest.mark.parametrize(
    ("settings", "length", "remark"),
    [
        ({}, 256, "1 of 40 texts cut to 256 words"),
        ({"length": 5}, 5, "texts cut to 5 words"),
        ({"unit": "characters"}, 1024, "1 of 40 texts cut to 1024 characters"),
    ],
)
def test_long_texts_are_cut_and_that_is_said(tmp_path: Path, settings: Any, length: int, remark: str) -> None:
    texts, labels = questions(40)
    splits = load(write_csv(tmp_path / "a.csv", [*texts[:-1], "and so on " * 200], labels), **settings)
    assert splits.train.images.shape[1] == length
    assert remark in splits.summary()


def test_combining_marks_belong_to_their_words() -> None:
    """The vowels of Hindi and of written-out Arabic are marks, which Python's \\w does not count."""
    hindi, arabic = "\u0939\u093f\u0928\u094d\u0926\u0940", "\u0645\u064f\u062d\u064e\u0645\u0651\u064e\u062f"
    assert split_text("\u2764\ufe0fgreat", "words") == ["\u2764", "\ufe0f", "great"]  # after a heart, not in a word
    assert split_text(f"{hindi} {arabic}!", "words") == [hindi, unicodedata.normalize("NFC", arabic), "!"]


def test_what_the_vocabulary_leaves_out_is_said(tmp_path: Path) -> None:
    splits = load(question_file(tmp_path / "a.csv"), vocabulary=3)
    assert len(vocabulary_of(splits)) == 3
    assert "vocabulary of 3 of the 2" in splits.summary()
    with pytest.raises(DataError, match="none of the words in the training texts occurs 99 times; lower data.min_coun"):
        load(tmp_path / "a.csv", min_count=99)


def test_tables_of_parts_are_used_as_they_are(tmp_path: Path) -> None:
    for seed, (part, count) in enumerate((("train", 20), ("validation", 10), ("test", 6))):
        question_file(tmp_path / f"{part}.csv", count, seed)
    (tmp_path / "notes.md").write_text("none")
    splits = load(tmp_path)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [20, 10, 6]
    for other in ("val", "more"):
        (tmp_path / "validation.csv").rename(tmp_path / f"{other}.csv")
        splits = load(tmp_path)
        if other == "val":
            assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [20, 10, 6]
            (tmp_path / "val.csv").rename(tmp_path / "validation.csv")
    assert [len(part) for part in (splits.train, splits.validation)] == [15, 5]
    assert "left out: more.csv" in splits.summary()


def test_a_parquet_file_is_read_like_a_csv_file(tmp_path: Path) -> None:
    texts, labels = questions(40)
    columns = {"text": texts, "label": labels, "more": list(range(40))}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    same = load(tmp_path / "a.parquet")
    assert same.describe() == load(question_file(tmp_path / "a.csv")).describe()
    encoded = {name: pa.array(columns[name]).dictionary_encode() for name in ("text", "label")}
    pq.write_table(pa.table(encoded), tmp_path / "b.parquet")
    assert load(tmp_path / "b.parquet").describe() == same.describe()
    pq.write_table(pa.table({"text": texts, "label": [len(label) for label in labels]}), tmp_path / "c.parquet")
    assert load(tmp_path / "c.parquet").classes == ("5", "6")


def test_files_in_folders_of_classes_are_read(tmp_path: Path) -> None:
    splits = load(write_text_folders(tmp_path))
    assert splits.classes == ("person", "place")
    for part in ("train", "test"):
        write_text_folders(tmp_path / "parts" / part)
    splits = load(tmp_path / "parts")
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [9, 3, 12]
    assert "train texts from 'train', test texts from 'test'" in splits.summary()


@pytest.fixture
def own_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module with functions that return texts, and others that do not."""
    (tmp_path / "own_texts.py").write_text(
        "TEXTS, LABELS = ['A good one', 'a bad one'] * 20, ['good', 'bad'] * 20\n"
        "def one(): return TEXTS, LABELS\n"
        "def three(): return (TEXTS, LABELS), (['so good', 'so bad'], LABELS[:2]), (['good', 'bad'], LABELS[:2])\n"
        "def short(): return TEXTS, LABELS[:3]\n"
        "def pictures(): return [3, 4], [0, 1]\n"
        "def mixed(): return ['a text', 3], [0, 1]\n"
        "def empty(): return ['a text', ' '], [0, 1]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("own_texts", None)


def load_own(name: str) -> DataSplits:
    return load_data(DataSettings(name=f"own_texts:{name}", task="text", min_count=1), seed=0)


@pytest.mark.usefixtures("own_texts")
def test_a_function_gives_texts() -> None:
    splits = load_own("one")
    assert (splits.classes, set(vocabulary_of(splits))) == (("bad", "good"), {"a", "bad", "good", "one"})
    splits = load_own("three")
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [40, 2, 2]
    assert "so" not in vocabulary_of(splits)


@pytest.mark.usefixtures("own_texts")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("short", "returns tuple; it must return a pair of lists (texts, labels), or two or three of them"),
        ("pictures", "returns tuple; it must return a pair of lists (texts, labels)"),
        ("mixed", "text 1 of the train part is a int; it must be text"),
        ("empty", "text 1 of the train part has an empty text"),
    ],
)
def test_a_function_that_gives_no_texts_is_refused(name: str, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        load_own(name)


def test_quotes_and_line_breaks_belong_to_a_text(tmp_path: Path) -> None:
    texts, labels = questions(40)
    path = write_csv(tmp_path / "a.csv", ['He said, "go"\n' + text for text in texts], labels)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert {"he", "said", ",", '"'} <= set(vocabulary_of(load(path)))


GOOD = "label,text\na,one two\nb,three four\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("label,text\na,one\n,two\n", r"row 2 of .*a.csv has no label \(data.root\)"),
        ("label,text\na,one\nb,\n", "row 2 of .*a.csv has an empty text"),
        ("label,text\na,one\nb,  \n", "row 2 of .*a.csv has an empty text"),
        ("text\none\n", "a.csv has the columns 'text'; 'label' is missing"),
        ("label,sentence\na,one\n", "a.csv has the columns 'label', 'sentence'; 'text' is missing"),
        ("label,text,text\na,one,two\n", "a.csv has the columns 'label', 'text', 'text'; 'text' is there twice"),
        ("", "a.csv has the columns none; 'text' is missing"),
        ("label,text\n", "a.csv has no rows"),
        ("label,text\na,one, two\n", "row 1 of .*a.csv has 3 fields, and the header has 2; a text with commas must be"),
        ('label,text\na,one\nb,"two\n', "a.csv is not a CSV file: unexpected end of data"),
        (f"label,text\na,{'x' * (MAX_CHARACTERS + 1)}\n", r"a.csv is not a CSV file: field larger than field limit"),
        ("label,text\n" + "a,one two\n" * 20, r"data set 'text' has 1 class \('a'\); at least 2 are needed"),
        (GOOD, "the class 'a' has 1 of 2 images; a class needs at least 3"),
    ],
    ids=range(13),
)
def test_tables_that_cannot_be_used_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(DataError, match=message) as refused:
        load(tmp_path / "a.csv")
    assert "\n" not in str(refused.value)


def test_a_table_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("label,text\na,caf\u00e9\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"a.csv is not UTF-8 \(data.root\)"):
        load(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": ["a", None], "label": ["x", "y"]}, "row 2 of .*a.parquet has an empty text"),
        ({"text": ["a", "b"], "label": ["x", None]}, "row 2 of .*a.parquet has no label"),
        ({"text": [1, 2], "label": ["x", "y"]}, "the column 'text' of .*a.parquet is int64; it must be text"),
        ({"words": ["a"], "label": ["x"]}, "a.parquet has the columns 'words', 'label'; 'text' is missing"),
        ({"text": ["a" * (MAX_CHARACTERS + 1)], "label": ["x"]}, "row 1 .* has 131,073 characters; .* at most 131,072"),
    ],
    ids=range(5),
)
def test_parquet_files_that_cannot_be_used_are_refused(tmp_path: Path, columns: Any, message: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=message):
        load(tmp_path / "a.parquet")


def test_places_without_texts_are_refused(tmp_path: Path) -> None:
    question_file(tmp_path / "only" / "test.csv")
    question_file(tmp_path / "two" / "train.csv")
    (tmp_path / "two" / "train.parquet").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.parquet").write_bytes(b"x")
    for name, message in (
        ("only", "only has test.csv, but no train.csv or train.parquet"),
        ("two", "two has train.csv and train.parquet; remove one of them"),
        ("empty", "needs one folder of text files per class"),
        ("a.parquet", "a.parquet cannot be read as a Parquet file"),
        ("no.csv", "no.csv cannot be read: No such file or directory"),
        ("no", "no is neither a folder nor a file with the ending .csv or .parquet"),
    ):
        with pytest.raises(DataError, match=message):
            load(tmp_path / name)
    write_text_folders(tmp_path / "folders")
    (tmp_path / "folders" / "place" / "odd.txt").write_text("  \n")
    with pytest.raises(DataError, match="odd.txt has an empty text"):
        load(tmp_path / "folders")


def test_a_label_that_training_texts_lack_is_refused(tmp_path: Path) -> None:
    question_file(tmp_path / "train.csv")
    write_csv(tmp_path / "test.csv", ["Why?"], ["reason"])
    with pytest.raises(DataError, match="has the label 'reason' in its test_texts, which is not one of its classes"):
        load(tmp_path)


def test_files_that_hold_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for content, message in (
        (b"", "a.txt has an empty text"),
        (b"caf\xe9", "a.txt is not UTF-8"),
        (b"x" * (MAX_CHARACTERS + 1), "a.txt has 131,073 characters; a text can have at most 131,072"),
        (b"x" * (4 * MAX_CHARACTERS + 1), "a.txt has more than 131,072 characters"),
    ):
        path.write_bytes(content)
        with pytest.raises(TextError, match=message):
            read_text(path)
    with pytest.raises(TextError, match="no.txt: there is no such file"):
        read_text(tmp_path / "no.txt")


def test_the_preprocessing_numbers_a_file_as_the_data_set_did(tmp_path: Path) -> None:
    splits = load(write_text_folders(tmp_path / "data", 40))
    ours = Preprocessing.of(json.loads(json.dumps(splits.describe())))
    assert Preprocessing.from_json(json.loads(json.dumps(ours.to_json()))) == ours
    read = np.stack([ours.read(path) for path in sorted((tmp_path / "data").rglob("*.txt"))])
    everything = np.concatenate([part.images for part in (splits.train, splits.validation, splits.test)])
    assert sorted(read.tolist()) == sorted(everything.tolist())
    inputs = ours.normalised(read)
    assert inputs.dtype == np.int64
    np.testing.assert_array_equal(inputs, read[..., 0])


def test_batches_are_tokens_as_they_are(tmp_path: Path) -> None:
    splits = merge_validation(load(question_file(tmp_path / "a.csv")))
    assert (splits.mean, splits.deviation) == ((), ())
    images = DeviceImages(splits.train, mean=(), deviation=(), device=torch.device("cpu"))
    batch, labels = images.at(torch.tensor([3, 1]))
    assert batch.dtype == torch.int64
    np.testing.assert_array_equal(batch, splits.train.images[[3, 1], :, 0])
    np.testing.assert_array_equal(labels, splits.train.labels[[3, 1]])


@pytest.mark.parametrize(
    ("key", "value"),
    [("training.flip", True), ("training.cutout", 8), ("training.crop_padding", 2), ("data.image_size", 8)],
)
def test_settings_for_images_are_refused(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{key} is {value}, which means nothing for text data; leave it out"):
        load_config("[data]\nname = 'text'\n", [f"{key}={str(value).lower()}"])


@pytest.mark.parametrize("data_set", ["digits", "signal"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data.unit", "characters"),
        ("data.vocabulary", 9),
        ("data.min_count", 9),
        ("data.vectors", "a.txt"),
        ("network.embedding", 9),
        ("training.word_dropout", 0.5),
    ],
)
def test_settings_for_texts_are_refused_for_other_data(data_set: str, key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{key} is {value!r}, which means nothing for {data_set} data"):
        load_config(f"[data]\nname = '{data_set}'\n", [f"{key}={value}"])


def test_what_does_not_exist_for_texts_is_left_out_and_said() -> None:
    config = SearchConfig.model_validate({"data": {"name": "text"}, "training": {"preset": "nasnet-cifar"}})
    assert SearchComponents.of(config, PassedParts()).remarks == [
        "left out of the space, because they do not exist for text data: conv_1x3_3x1, conv_1x7_7x1",
        "left out of the preset, because they mean nothing for text data: training.crop_padding, training.flip, "
        "training.cutout, training.auxiliary_weight",
    ]


def test_the_example_makes_its_data_and_reads_them(tmp_path: Path) -> None:
    run(str(ROOT / "examples" / "text_data.py"), cwd=tmp_path)
    config = load_config(ROOT / "examples" / "text.toml", [f"data.root={tmp_path / 'reviews.csv'}"])
    splits = load_data(config.data, 0)
    assert splits.classes == ("bad", "good")
    assert splits.train.images.shape[::2] == (960, 1)
    assert "not" in vocabulary_of(splits)
