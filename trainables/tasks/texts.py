"""The classification of texts: a table of texts and labels, or text files."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from trainables.class_folders import ROLE_WORDS, Role, find_class_folders, test_of_two
from trainables.data_functions import call_for_pairs
from trainables.file_kind import FileKind
from trainables.image_arrays import DataError, DataSource, Encoded, ExampleCheck, Parts, RawPart, make_source
from trainables.layers import Size
from trainables.settings import DataSettings, printable
from trainables.tasks.task import FOR_MASKS, Task
from trainables.text_files import TABLES, TEXT_FILES, TextError, check_text, read_table, read_text
from trainables.vocabulary import Unit, Vocabulary, split_text
from trainables.word_vectors import read_vectors

MAX_UNSET_LENGTH: Mapping[Unit, int] = {"words": 256, "characters": 1024}
"""Maximum length if `data.length` is unset: a few long texts would make the networks slow on all."""


@dataclass(frozen=True)
class TextReading:
    """Texts in files of UTF-8, as tokens of a vocabulary, padded or cut to the network's length."""

    vocabulary: Vocabulary

    files: ClassVar[FileKind] = TEXT_FILES

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`."""
        return cls(Vocabulary(value["unit"], tuple(value["vocabulary"]), value["lower_case"]))

    def to_json(self) -> dict[str, Any]:
        vocabulary = self.vocabulary
        return {
            "task": "text",
            "unit": vocabulary.unit,
            "lower_case": vocabulary.lower_case,
            "vocabulary": list(vocabulary.units),
        }

    @property
    def tokens(self) -> int:
        """See `Reading`."""
        return self.vocabulary.tokens

    def read(self, path: Path, *, size: Size, channels: int) -> NDArray[np.int32]:
        """See `Reading`."""
        (length,) = size
        return self.vocabulary.encode(self.vocabulary.split(read_text(path)), length)[:, None]


def load_texts(settings: DataSettings) -> DataSource:
    """Texts: a .csv or .parquet file with the columns `text` and `label`, or one folder of .txt files per class."""
    root = Path(settings.root)
    try:
        if not root.is_dir():
            return _source(settings, {"train": _table(root)})
        tables, remarks = _find_tables(root)
        if tables:
            return _source(settings, {role: _table(path) for role, path in tables.items()}, remarks=remarks)
        folders = find_class_folders(root, TEXT_FILES)
        parts: dict[Role, RawPart] = {}
        for role in folders.parts:
            places = folders.places(role)
            texts = [read_text(root.joinpath(*place)) for _, place in places]
            parts[role] = _as_array(texts), np.array([label for label, _ in places], np.int64)
    except TextError as error:
        raise DataError(f"{error} (data.root)") from error
    return _source(settings, parts, names=[printable(name) for name in folders.classes], remarks=folders.remarks)


def load_function(settings: DataSettings) -> DataSource:
    """The result of `module:function`: lists (texts, labels), or two or three such pairs."""
    parts: dict[Role, RawPart] = {}
    for role, (texts, labels) in call_for_pairs(settings, _is_pair, "a pair of lists (texts, labels)").items():
        for number, text in enumerate(texts):
            where = f"data.name = {settings.name!r}: text {number:,} of the {role} part"
            if not isinstance(text, str):
                raise DataError(f"{where} is a {type(text).__name__}; it must be text")
            try:
                check_text(text, where)
            except TextError as error:
                raise DataError(str(error)) from error
        parts[role] = _as_array(texts), np.array(labels)
    return _source(settings, parts)


def _is_pair(value: Any) -> bool:
    """Whether this is (texts, labels): two lists, or other sequences, of one length."""
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(hasattr(part, "__len__") and not isinstance(part, str) for part in value)
        and len(value[0]) == len(value[1])
        and all(isinstance(text, str) for text in value[0][:1])
    )


def _find_tables(root: Path) -> tuple[dict[Role, Path], list[str]]:
    """The tables in a folder that are named like a part, and remarks; empty if there are no tables."""
    paths = sorted(path for path in root.iterdir() if path.suffix.lower() in TABLES and path.is_file())
    found: dict[Role, Path] = {}
    left_out = []
    for path in paths:
        role = ROLE_WORDS.get(path.stem.casefold())
        if role is None:
            left_out.append(printable(path.name))
        elif role in found:
            raise TextError(f"{printable(root)} has {found[role].name} and {path.name}; remove one of them")
        else:
            found[role] = path
    if paths and "train" not in found:
        listed = ", ".join(printable(path.name) for path in paths[:5])
        raise TextError(f"{printable(root)} has {listed}, but no train.csv or train.parquet")
    return test_of_two(found), [f"left out: {', '.join(left_out)}"] if left_out else []


def _table(path: Path) -> RawPart:
    if path.suffix.lower() not in TABLES:
        raise TextError(
            f"{printable(path)} is neither a folder nor a file with the ending {' or '.join(sorted(TABLES))}"
        )
    texts, labels = read_table(path)
    return _as_array(texts), np.array(labels)


def _as_array(texts: Sequence[str]) -> NDArray[np.object_]:
    return np.array(texts, object)


def _source(settings: DataSettings, parts: Mapping[Role, RawPart], **values: Any) -> DataSource:
    return make_source(
        settings,
        parts["train"],
        validation=parts.get("validation"),
        test=parts.get("test"),
        kind=_CHECK,
        encode=functools.partial(_encode, settings),
        **values,
    )


def _encode(settings: DataSettings, parts: Parts) -> Encoded:
    """Number the units of all texts by a vocabulary of the training texts alone."""
    unit, lower_case = settings.unit, settings.lower_case
    train, *others = [[split_text(text, unit, lower_case=lower_case) for text in part] for part in parts]
    vocabulary = Vocabulary.count(
        train, unit, min_count=settings.min_count, max_size=settings.vocabulary, lower_case=lower_case
    )
    if not vocabulary.units:
        raise DataError(
            f"none of the {unit} in the training texts occurs {settings.min_count} times; lower data.min_count"
        )
    lengths = [len(text) for part in (train, *others) for text in part]
    length = settings.length or min(max(lengths), MAX_UNSET_LENGTH[unit])
    different = len(set().union(*train))
    remarks = [f"vocabulary of {len(vocabulary.units):,} of the {different:,} {unit} in the training texts"]
    vectors = None
    if settings.vectors is not None:
        try:
            vectors, known = read_vectors(Path(settings.vectors), vocabulary)
        except TextError as error:
            raise DataError(f"{error} (data.vectors)") from error
        remarks.append(f"initial vectors of {known:,} of them")
    if cut := sum(one > length for one in lengths):
        remarks.append(f"{cut:,} of {len(lengths):,} texts cut to {length} {unit}")
    return Encoded(
        parts=(_numbered(train, vocabulary, length), *(_numbered(part, vocabulary, length) for part in others)),
        reading=TextReading(vocabulary),
        remarks=tuple(remarks),
        vectors=vectors,
    )


def _numbered(texts: Sequence[Sequence[str]], vocabulary: Vocabulary, length: int) -> NDArray[np.int32]:
    """The texts as numbers of words or characters, [n, length, 1], padded with 0."""
    return np.stack([vocabulary.encode(text, length) for text in texts])[..., None]


def _same(settings: DataSettings, texts: NDArray[Any], which: str) -> NDArray[Any]:
    """The texts, which were checked one by one when they were read."""
    return texts


_CHECK = ExampleCheck("texts", "data.length", _same)

TEXTS = Task(
    data_sets={"text": load_texts},
    from_function=load_function,
    axes=1,
    reading=TextReading.from_json,
    skeleton="text",
    unused=(
        *("data.image_size", "training.crop_padding", "training.flip", "training.cutout"),
        *("training.auxiliary_weight", *FOR_MASKS),
    ),
)
