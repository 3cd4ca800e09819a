"""Lists folders of files: one folder per class, in one part, or in parts for training, validation and test.

The layout is found from the names alone, before any file is opened. One that can be read in two ways is refused.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn, TypeVar

from trainables.file_kind import FileKind, is_hidden
from trainables.image_arrays import DataError
from trainables.settings import printable

Role = Literal["train", "validation", "test"]
ROLES: tuple[Role, ...] = ("train", "validation", "test")
T = TypeVar("T")
Place = tuple[str, ...]
"""A path below the root, as its parts."""

ROLE_WORDS: dict[str, Role] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
"""Words in the names of folders, or of tables, that hold a part of a data set."""
_PLAIN = frozenset({"", "set", "data", "dataset", "images"})
"""What may stand beside such a word: `test_set`, `train-images`."""


@dataclass(frozen=True)
class Contents:
    """The names below a folder, without hidden ones."""

    files: Sequence[Place]
    folders: Sequence[Place]
    left_out: Mapping[str, int]
    """The number of files that are not read, by reason."""
    kind: FileKind
    """Of the files."""


@dataclass(frozen=True, kw_only=True)
class ClassFolders:
    """The files of a data set by part and class."""

    parts: Mapping[Role, Mapping[str, Sequence[Place]]]
    """By role, then by class."""
    classes: Sequence[str]
    """The names of the folders of the classes, by label."""
    remarks: Sequence[str]
    """What the user should know about how the names were read."""

    def places(self, role: Role) -> list[tuple[int, Place]]:
        """The label and the path of each file of a part."""
        return [(label, place) for label, name in enumerate(self.classes) for place in self.parts[role][name]]


def find_class_folders(root: Path, kind: FileKind) -> ClassFolders:
    """Find one folder per class, directly under `root` or under parts such as `root/train` and `root/test`.

    Raises:
        DataError: `root` is not a folder, or its names can be read in two ways or in none.
    """
    if not root.is_dir():
        raise DataError(f"data.root = {printable(root)!r} is not a folder")
    contents = list_contents(root, kind)
    try:
        parts = test_of_two(find_parts(contents))
        files = {role: _by_class(contents, folder) for role, folder in parts.items()}
        classes = _same_classes(files, parts)
    except ValueError as error:
        raise DataError(f"data.root = {printable(root)!r} {error}") from error
    files = {role: files[role] for role in ROLES if role in files}
    return ClassFolders(parts=files, classes=classes, remarks=_remarks(contents, parts, files))


def list_contents(root: Path, kind: FileKind) -> Contents:
    """List files of a kind and folders below a folder, through symbolic links too, and count what is left out."""

    def refuse(error: OSError) -> NoReturn:
        place = printable(error.filename)
        raise DataError(f"{place} cannot be read: {error.strerror} (data.root)") from error

    found: list[Place] = []
    folders: list[Place] = []
    left_out: Counter[str] = Counter()
    seen: set[str] = set()
    for path, below, files in os.walk(root, followlinks=True, onerror=refuse):
        real = os.path.realpath(path)
        if real in seen:  # links may form a circle
            below.clear()
            continue
        seen.add(real)
        place = Path(path).relative_to(root).parts
        hidden = [name for name in (*below, *files) if is_hidden(name)]
        left_out["hidden"] += len(hidden)
        below[:] = sorted(set(below).difference(hidden))
        folders += [(*place, name) for name in below]
        for name in sorted(set(files).difference(hidden)):
            if kind.matches(name):
                found.append((*place, name))
            else:
                left_out[printable(Path(name).suffix.lower()) or "without an ending"] += 1
    return Contents(found, folders, +left_out, kind)


def find_parts(contents: Contents) -> dict[Role, str | None]:
    """Return the folder of each part; None stands for the root, whose folders are then the classes.

    Raises:
        ValueError: the names can be read in two ways; the message says which.
    """
    filled = {place[0] for place in contents.files if len(place) > 1}
    tops = sorted({place[0] for place in contents.folders})
    roles = _roles(tops, filled)
    nested = {place[0] for place in contents.files if len(place) > 2} & set(roles)
    others = sorted(filled - set(roles))
    if not roles or (not nested and others and set(roles.values()) == {"train"}):
        return {"train": None}  # a class may be called `train`: beside other classes, with its files in it
    if others:
        look = "looks like a part" if len(roles) == 1 else "look like parts"
        raise ValueError(
            f"has the {_folders(roles)}, which {look} of a data set, beside {_names(others)}, which "
            f"{'does' if len(others) == 1 else 'do'} not; rename or move one or the other"
        )
    if flat := sorted(set(roles) - nested):
        raise ValueError(f"has the folder {_names(flat[:1])}, which has no folders of {contents.kind.name}s in it")
    parts: dict[Role, str | None] = {}
    for folder, role in roles.items():
        if role in parts:
            raise ValueError(
                f"has the folders {parts[role]!r} and {folder!r}; both look like its {role} part; rename or move one"
            )
        parts[role] = folder
    if "train" not in parts:
        raise ValueError(f"has the {_folders(roles)} but none of training {contents.kind.example}s, such as 'train'")
    return parts


def test_of_two(parts: Mapping[Role, T]) -> dict[Role, T]:
    """The parts of a data set. Of two, the one that is not for training is the test part: no search may see it."""
    if "test" in parts:
        return dict(parts)
    return {"test" if role == "validation" else role: part for role, part in parts.items()}


def _roles(tops: Sequence[str], filled: set[str]) -> dict[str, Role]:
    """The folders that are named like a part, with its role.

    A name is such a word, alone or with a plain one (`test_set`), or with one that all folders share (`seg_train` and
    `seg_test`).
    """
    found: dict[str, tuple[Role, str]] = {}
    for name in tops:
        words = [word for word in re.split(r"[\W_]+", name.casefold()) if word]
        named = [ROLE_WORDS[word] for word in words if word in ROLE_WORDS]
        if len(named) == 1:
            found[name] = named[0], " ".join(word for word in words if word not in ROLE_WORDS)
    rests = {rest for _, rest in found.values()}
    shared = len(rests) == 1 and len(found) > 1 and filled <= set(found)
    return {name: role for name, (role, rest) in found.items() if shared or rest in _PLAIN}


def _by_class(contents: Contents, part: str | None) -> dict[str, list[Place]]:
    """The files of one part by class.

    Raises:
        ValueError: a class has no file, or the folders of classes all hold the same folders.
    """
    depth = 0 if part is None else 1
    inside = () if part is None else (part,)
    files: defaultdict[str, list[Place]] = defaultdict(list)
    for place in contents.files:
        if place[:depth] == inside and len(place) > depth + 1:
            files[place[depth]].append(place)
    for place in contents.folders:
        if place[:depth] == inside and len(place) == depth + 1 and place[depth] not in files:
            raise ValueError(
                f"has the folder {printable('/'.join(place))!r} without a {contents.kind.name}; every class needs some"
            )
    if not files:
        if directly := sum(len(place) == depth + 1 for place in contents.files):
            raise ValueError(
                f"has {directly} {contents.kind.name}s and no folder; the folder that contains one folder of "
                f"{contents.kind.name}s per class is needed"
            )
        others = _left_out(contents.left_out, start="; it has ")
        raise ValueError(f"needs one folder of {contents.kind.name}s per class{others}")
    below = [{place[depth + 1] for place in places if len(place) > depth + 2} for places in files.values()]
    directly = any(len(place) == depth + 2 for places in files.values() for place in places)
    shared = sorted(set.intersection(*below))
    if not directly and len(shared) > 1:
        if len(files) == 1:
            (only,) = files
            raise ValueError(
                f"has one class, {only!r}, which holds the folders {_names(shared)}; if these are the classes, append "
                f"{only!r}"
            )
        raise ValueError(
            f"has the folders {_names(files)}, and each holds the folders {_names(shared)}; either could be the "
            "classes, so remove one of the two levels"
        )
    return dict(sorted(files.items()))


def _same_classes(files: Mapping[Role, Mapping[str, object]], parts: Mapping[Role, str | None]) -> list[str]:
    classes = list(files["train"])
    for role, part in files.items():
        if list(part) != classes:
            differing = sorted(set(part) ^ set(classes))
            raise ValueError(
                f"has other classes in {parts[role]!r} than in {parts['train']!r}: {_names(differing)} "
                f"{'is' if len(differing) == 1 else 'are'} only in one of them"
            )
    return classes


def _remarks(
    contents: Contents, parts: Mapping[Role, str | None], files: Mapping[Role, Mapping[str, Sequence[Place]]]
) -> list[str]:
    """What the user should know about how the names were read."""
    remarks = []
    if None not in parts.values():
        remarks.append(", ".join(f"{role} {contents.kind.example}s from {printable(parts[role])!r}" for role in files))
    outside = len(contents.files) - sum(len(places) for part in files.values() for places in part.values())
    left_out = {**contents.left_out, **({"outside the folders of classes": outside} if outside else {})}
    return [*remarks, _left_out(left_out, start="left out: ")] if left_out else remarks


def _left_out(counts: Mapping[str, int], start: str) -> str:
    """Count the files that are not read, by reason, after `start`; empty if there are none."""
    return start + ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items())) if counts else ""


def _folders(names: Mapping[str, object]) -> str:
    return f"{'folder' if len(names) == 1 else 'folders'} {_names(names)}"


def _names(names: Sequence[str] | Mapping[str, object] | set[str]) -> str:
    """At most five names for a message."""
    listed = [repr(printable(name)) for name in list(names)[:5]]
    return ", ".join(listed) + (", ..." if len(names) > 5 else "")
