"""What travels in an exported file beside the network, and an exported file once it is open. No torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainables.preprocessing import Preprocessing

METADATA = "cellscout"
"""Under this name every format keeps the facts, as JSON."""

Runner = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""From normalised images [n, channels, height, width] to logits [n, classes], for any n of at least 1."""


class ModelFileError(ValueError):
    """The content is no file of `cellscout export`, or is spoilt."""


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """
    Args:
        name: of the network.
        preprocessing: what its images must be like, and what its logits stand for.
        int8: whether it is quantised.
    """

    name: str
    preprocessing: Preprocessing
    int8: bool

    def dumps(self) -> str:
        return json.dumps({"name": self.name, "int8": self.int8, "preprocessing": self.preprocessing.to_json()})

    @classmethod
    def loads(cls, text: str) -> ModelFacts:
        """Inverse of `dumps`.

        Raises:
            ModelFileError: the text is none of its results.
        """
        try:
            value = json.loads(text)
            preprocessing = Preprocessing.from_json(value["preprocessing"])
            return cls(name=str(value["name"]), preprocessing=preprocessing, int8=bool(value["int8"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(f"its metadata {METADATA!r} are not those of an exported network") from error


@dataclass(frozen=True)
class ModelFile:
    """An exported network that can be run."""

    facts: ModelFacts
    run: Runner
