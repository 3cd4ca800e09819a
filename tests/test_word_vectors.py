"""Initial vectors of words: what is read of a file, what is refused, and that networks begin with them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from orchestrator.config.loading import load_config
from orchestrator.errors import ConfigError
from orchestrator.record.run_directory import RunDirectory
from orchestrator.search.passed import PassedParts
from orchestrator.search.setup import SearchComponents
from tests.text_files import question_file
from tests.trained import small_spec
from trainables.datasets import DataSplits, load_data
from trainables.image_arrays import DataError
from trainables.layers import Embedding
from trainables.loader import DeviceData
from trainables.settings import DataSettings, TrainingSettings
from trainables.text_files import TextError
from trainables.training import Training
from trainables.vocabulary import Vocabulary
from trainables.word_vectors import read_vectors

WORDS = Vocabulary("words", ("who", "where", "lagos"))


def vector_file(folder: Path, content: str) -> Path:
    path = folder / "vectors.txt"
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize("header", ["", "4 3\n"])
def test_vectors_of_the_vocabulary_are_read(tmp_path: Path, header: str) -> None:
    path = vector_file(tmp_path, header + "of 9 9 9\nlagos 1 -2.5 3e-1\n. . . 7 7 7\nwho 0 0 1 \n")
    vectors, known = read_vectors(path, WORDS)
    assert known == 2
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors[[0, 2, 4]], np.array([[0, 0, 0], [0, 0, 1], [1, -2.5, 0.3]], np.float32))
    others = vectors[[1, 3]]
    assert (others != 0).all()
    np.testing.assert_array_equal(read_vectors(path, WORDS)[0], vectors)


def test_words_without_a_vector_get_random_ones_of_the_same_deviation(tmp_path: Path) -> None:
    many = Vocabulary("words", ("who", *(f"word{number}" for number in range(500))))
    path = vector_file(tmp_path, "who " + " ".join(["0.25", "-0.25"] * 10))
    vectors, known = read_vectors(path, many)
    assert known == 1
    assert float(vectors[3:].std()) == pytest.approx(0.25, rel=0.05)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("who 1 2\nwhere 1\n", "line 2 of .*vectors.txt is not a word and 2 numbers"),
        ("who\n", "line 1 of .*vectors.txt is not a word and its numbers"),
        ("who 1 two\n", "line 1 of .*vectors.txt is not a word and 2 numbers"),
        ("who 1 nan\n", "vectors.txt has vectors that are not finite"),
        ("of 1 2\n", "vectors.txt has none of the 3 words of the vocabulary"),
        ("", "vectors.txt has none of the 3 words of the vocabulary"),
    ],
)
def test_files_that_hold_no_vectors_are_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(TextError, match=message):
        read_vectors(vector_file(tmp_path, content), WORDS)


def load(folder: Path, vectors: str | None = None) -> DataSplits:
    path = question_file(folder / "a.csv")
    return load_data(DataSettings(name="text", root=str(path), validation_fraction=0.25, vectors=vectors), 0)


def test_a_training_begins_with_the_vectors_of_the_data(tmp_path: Path) -> None:
    vectors = vector_file(tmp_path, "who 1 2 3\nwhere 4 5 6\n")
    splits = load(tmp_path, vectors=str(vectors))
    assert "initial vectors of 2 of them" in splits.summary()
    assert splits.describe()["vector_size"] == 3
    assert splits.describe()["sha256"] != load(tmp_path).describe()["sha256"]
    tokens = splits.reading.tokens
    assert tokens is not None
    spec = replace(small_spec(), classes=2, image_channels=1, image_size=splits.train.images.shape[1:2])
    spec = replace(spec, embedding=Embedding(tokens, 3))

    def begun_with(splits: DataSplits) -> torch.Tensor:
        data = DeviceData(splits, torch.device("cpu"))
        return next(Training(spec, TrainingSettings(), data, seed=1).network.parameters()).detach()

    assert splits.vectors is not None
    np.testing.assert_array_equal(begun_with(splits), splits.vectors)
    assert (begun_with(load(tmp_path)) != begun_with(splits)).any()


def test_vectors_of_another_size_and_missing_files_are_refused(tmp_path: Path) -> None:
    facts = json.loads(json.dumps(load(tmp_path, vectors=str(vector_file(tmp_path, "who 1 2 3\n"))).describe()))
    components = SearchComponents.of(load_config("[data]\nname = 'text'\n"), PassedParts())
    with pytest.raises(ConfigError, match="is 64; the vectors of data.vectors have 3 numbers: set network.embedding"):
        components.plan(facts, RunDirectory.at(str(tmp_path / "run")))
    with pytest.raises(DataError, match=r"no.txt cannot be read: No such file or directory \(data.vectors\)"):
        load(tmp_path, vectors=str(tmp_path / "no.txt"))


def test_the_place_of_the_vectors_is_made_absolute_and_may_change() -> None:
    settings = DataSettings(name="text", root="a.csv", vectors="vectors.txt").located()
    assert settings.vectors == str(Path.cwd() / "vectors.txt")
    assert DataSettings().located().vectors is None
