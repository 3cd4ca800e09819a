"""Reads the weights that a retraining starts from, and checks them against their networks."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError, InputError, RunDirectoryError
from orchestrator.networks.retraining.record import WEIGHTS
from orchestrator.networks.retraining.settings import RetrainSettings
from orchestrator.record import RecordedRun
from trainables.baseline_spec import BaselineSpec
from trainables.network_spec import NetworkSpec
from trainables.storage import Folder, reason, split_options

if TYPE_CHECKING:
    from trainables.transfer import InitialWeights


@dataclass(frozen=True)
class Weights:
    """A weights file."""

    location: str
    """The path or URI as the user wrote it."""
    content: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def start(self, *, freeze: bool) -> InitialWeights:
        from trainables.transfer import InitialWeights  # takes seconds: it imports torch

        return InitialWeights(self.content, freeze)


def read_weights(settings: RetrainSettings, names: Iterable[str]) -> dict[str, Weights]:
    """Read the weights that `settings.weights` names, by the name of their network.

    Args:
        names: names of the networks; the first one is not a baseline.

    Raises:
        InputError: the weights cannot be read, or are given twice for a network.
    """
    first, *_ = names = list(names)
    found: dict[str, Weights] = {}
    for word in settings.weights:
        name, _, location = word.partition("=")
        if name not in names and f"{settings.name}-{name}" in names:
            name = f"{settings.name}-{name}"  # a baseline beside a network that has a name
        if name not in names:
            name, location = first, word
        if name in found:
            raise ConfigError(f"--weights is given twice for {name}; for a baseline, write BASELINE=WEIGHTS")
        found[name] = Weights(location, _read(location))
    without = next((name for name in names if name not in found), None)
    if settings.freeze and without is not None:
        raise ConfigError(f"--freeze: {without} has no weights to take features from (--weights)")
    return found


def check_weights(
    weights: Mapping[str, Weights], networks: Mapping[str, NetworkSpec | BaselineSpec], search: RecordedRun
) -> None:
    """Check that the weights fit their networks, on the data of the search.

    Raises:
        InputError: a file does not contain weights, or those of another architecture or vocabulary.
    """
    for name, one in weights.items():
        network = networks[name]
        try:
            one.start(freeze=False).check(network)
        except ValueError as error:
            raise InputError(f"--weights {one.location}: {error} ({name})") from error
        has_tokens = isinstance(network, NetworkSpec) and network.embedding is not None
        if has_tokens and _reading_of(one.location) != search.info.data.get("reading"):
            raise InputError(
                f"--weights {one.location}: it is not a network of a run with the vocabulary of {search.directory}, so "
                f"its vectors may be those of other words ({name})"
            )


def _reading_of(location: str) -> object:
    """How the run of a network reads its data, with the vocabulary; None if it is no network of a run."""
    place, options = split_options(location)
    parts = place.rstrip("/").removesuffix(f"/{WEIGHTS}").split("/")
    for levels in (1, 2):  # RUN_DIR/best and RUN_DIR/retrain/NAME
        with contextlib.suppress(RunDirectoryError):
            return RecordedRun.of_search(f"{'/'.join(parts[:-levels]) or '.'}{options}").info.data.get("reading")
    return None


def _read(location: str) -> bytes:
    try:
        place = Folder.at(location)
        if place.has(WEIGHTS):
            return place.read(WEIGHTS)
        parent, _, file = place.path.rpartition("/")
        return Folder(place.filesystem, parent, location).read(file)
    except ValueError as error:
        raise InputError(f"--weights: {error}") from error
    except FileNotFoundError as error:
        raise InputError(f"--weights {location}: there is no such file or folder") from error
    except OSError as error:
        raise InputError(
            f"--weights {location} has no {WEIGHTS} and is not a readable file: {reason(error)}"
        ) from error
