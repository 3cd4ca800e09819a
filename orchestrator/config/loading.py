"""Reads a search file: from TOML and changes to a `SearchConfig`, with one-line errors."""

from __future__ import annotations

import copy
import difflib
import os
import tomllib
from collections.abc import Collection, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orchestrator.config.search_config import SearchConfig
from orchestrator.config.setting_errors import problem_of
from orchestrator.errors import ConfigError
from orchestrator.words import counted
from trainables.settings import did_you_mean_beside

DEFAULT_SEARCH = resources.files("orchestrator.config") / "default_search.toml"
"""The search file of `cellscout search` without a file."""

SYNONYMS = {
    "lr": "learning_rate",
    "time": "hours",
    "cpus": "cpus_per_trial",
    "gpus": "gpus_per_trial",
    "workers": "cpus_per_trial",  # as many trials run as the CPUs and GPUs allow
}
"""Keys that other programs have under these names."""

NEEDED = "(a search file, or a folder of pictures, is needed)"


def load_config(source: Path | str | SearchConfig | None = None, changes: Sequence[str] = ()) -> SearchConfig:
    """Load the settings of a search, and change some of them.

    `training.preset` gives values to the keys of `[training]` that are not set (`TrainingSettings`). All other keys
    have defaults.

    Args:
        source: the path of a search file; its text (a string with a `=` or a line break); a folder of pictures with a
            subfolder for each class; or settings, such as those of an earlier run (another sampler does not get the
            options of the one before, and `training.preset` begins `[training]` anew). None: the default search.
        changes: `section.key=value`, applied in this order.

    Raises:
        ConfigError: says in one line what is wrong and where.
    """
    _check_changes(changes)
    if isinstance(source, SearchConfig):
        return _changed(source.model_dump(mode="json"), changes, "the configuration")
    if source is None:
        name, text = "the default search", DEFAULT_SEARCH.read_text()
    elif isinstance(source, str) and (not source or set("=\n") & set(source)):
        name, text = "the TOML text", source
    elif not isinstance(source, (str, os.PathLike)):
        raise ConfigError(
            f"source is of the type {type(source).__name__}; it must be a path, a text, or the settings of a search"
        )
    elif (path := Path(source)).is_dir():
        return _parsed(_on_pictures_in(path), changes, str(path))
    else:
        name, text = str(path), _read(path)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name} is not valid TOML: {error}") from error
    return _parsed(values, changes, name)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror} {NEEDED}{_similar(path)}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no text {NEEDED}") from error


def _similar(path: Path) -> str:
    """A question that names what has a similar name beside it, if the path does not exist; else nothing."""
    if path.exists() or not path.parent.is_dir():
        return ""
    return did_you_mean_beside(path, [one.name for one in path.parent.iterdir()])


def change_config(config: Mapping[str, Any], overrides: Sequence[str], changeable: Collection[str]) -> SearchConfig:
    """Apply `section.key=value` overrides to a recorded configuration, in the changeable sections or keys only.

    Another sampler does not get the options of the one before.

    Raises:
        ConfigError: says in one line what is wrong and where.
    """
    _check_changes(overrides)
    for override in overrides:
        key = override.partition("=")[0].strip()
        section = key.partition(".")[0]
        if not {section, key} & set(changeable):
            raise ConfigError(
                f"--set {override!r}: a search that goes on can change {', '.join(sorted(changeable))}; with another "
                f"[{section}] its trials could not be compared"
            )
    return _changed(config, overrides, "the recorded configuration")


def _check_changes(changes: Sequence[str]) -> None:
    if isinstance(changes, str):
        raise ConfigError(f"changes is {changes!r}; it must be a list, such as [{changes!r}]")


def _changed(config: Mapping[str, Any], overrides: Sequence[str], source: str) -> SearchConfig:
    """Change whole settings, in which every key is set."""
    before, values = parse_config(config, source), dict(config)
    if any(override.partition("=")[0].strip() == "training.preset" for override in overrides):
        values["training"] = {}  # a preset gives only what is not set
    after = _parsed(values, overrides, source)
    if after.sampler.name == before.sampler.name:
        return after
    options = _with({}, overrides)["sampler"].get("options", {})
    return after.model_copy(update={"sampler": after.sampler.model_copy(update={"options": options})})


def _on_pictures_in(folder: Path) -> dict[str, Any]:
    """The default search, on the pictures in a folder, which may be few: so in small batches."""
    if (folder / "run.json").exists():
        raise ConfigError(f"{folder} is a run directory; `cellscout resume {folder}` continues its search")
    values = tomllib.loads(DEFAULT_SEARCH.read_text())
    values["run"]["name"] = "pictures"
    values["data"] |= {"name": "image_folder", "root": str(folder)}
    values.setdefault("training", {})["batch_size"] = 16
    return values


def _parsed(values: Mapping[str, Any], overrides: Sequence[str], source: str) -> SearchConfig:
    """Change plain values, and make a configuration of them. An error that the changes make is not called `source`."""
    changed = _with(values, overrides)
    try:
        return parse_config(changed, "--set")
    except ConfigError:
        parse_config(values, source)
        raise


def _with(before: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    values = copy.deepcopy(dict(before))
    for override in overrides:
        _set(values, override)
    return values


def parse_config(values: Mapping[str, Any], source: str) -> SearchConfig:
    """Make a configuration of plain values; errors call them `source`.

    Raises:
        ConfigError: says in one line what is wrong and where.
    """
    try:
        return SearchConfig.model_validate(dict(values))
    except ValidationError as error:
        first, *others = error.errors()
        more = f" (and {counted(len(others), 'more error')})" if others else ""
        raise ConfigError(f"{source}: {_explain(first)}{more}") from error
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error


def _set(values: dict[str, Any], override: str) -> None:
    """Apply `section.key=value`. The value is read as TOML, or as a plain string if it is not TOML."""
    path, separator, text = override.partition("=")
    *sections, key = path.strip().split(".")
    if not separator or not key or not all(sections):
        raise ConfigError(f"--set {override!r} is not of the form section.key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    target = values
    for section in sections:
        target = target.setdefault(section, {})
        if not isinstance(target, dict):
            raise ConfigError(f"--set {override!r}: {section!r} is not a section")
    target[key] = value


def _explain(error: ErrorDetails) -> str:
    """One of pydantic's errors in our words: the setting, its value, and the bound or the nearest known key."""
    place = [str(part) for part in error["loc"] if part in _known_words() or error["type"] == "extra_forbidden"]
    setting = ".".join(place)
    if error["type"] == "extra_forbidden":
        section, known = _section(place[:-1])
        key = SYNONYMS.get(place[-1], place[-1])
        if holders := _sections_with(key):
            return f"unknown key {setting!r}; did you mean {' or '.join(repr(f'{one}.{key}') for one in holders)}?"
        near = difflib.get_close_matches(place[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {'.'.join([*section, near[0]])!r}?" if near else f"known: {', '.join(sorted(known))}"
        return f"unknown key {setting!r}; {hint}"
    if error["type"] == "value_error":
        message = str(error["ctx"]["error"])
        return f"{setting}: {message}" if setting else message
    if error["type"] == "model_type":
        return f"{setting} is {error['input']!r}; it is a section, with keys of its own"
    return problem_of(setting, error)


def settings_like(word: str) -> list[str]:
    """Return the settings whose key is nearly this word or its synonym, as `section.key`; or a section, with `.KEY`."""
    if word in SearchConfig.model_fields:
        return [f"{word}.KEY"]
    keys = {key for name in SearchConfig.model_fields for key in _section([name])[1]}
    near = difflib.get_close_matches(SYNONYMS.get(word, word), sorted(keys), n=1, cutoff=0.8)
    return [f"{section}.{key}" for key in near for section in _sections_with(key)]


def _sections_with(key: str) -> list[str]:
    """The sections that have a key of this name."""
    return [name for name in SearchConfig.model_fields if key in _section([name])[1]]


def _section(place: Sequence[str]) -> tuple[list[str], list[str]]:
    model: type[BaseModel] = SearchConfig
    for part in place:
        annotation = model.model_fields[part].annotation
        assert isinstance(annotation, type)
        assert issubclass(annotation, BaseModel)
        model = annotation
    return list(place), list(model.model_fields)


def _known_words() -> set[str]:
    """Names of sections and keys. pydantic's locations also hold other words, such as the branch of a union."""
    return {word for name in SearchConfig.model_fields for word in (name, *_section([name])[1])}
