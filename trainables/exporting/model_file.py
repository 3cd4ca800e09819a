"""Facts that an exported file stores beside the network, and an opened exported file. Does not know torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.preprocessing import Preprocessing

METADATA = "cellscout"
"""Name under which every format stores the facts as JSON."""

Inputs = NDArray[Any]
"""The result of `Preprocessing.normalised`: images, signals or tokens [n, ...]."""
Runner = Callable[[Inputs], NDArray[np.float32]]
"""Maps inputs to logits [n, classes], for any n of at least 1."""


class ModelFileError(ValueError):
    """The content is not a file of `cellscout export`, or is damaged."""


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """Facts that an exported file stores beside the network."""

    name: str
    """Name of the network."""
    preprocessing: Preprocessing
    """How its images are prepared, and the classes of its logits."""
    int8: bool
    """Whether it is quantised."""

    def dumps(self) -> str:
        """The facts as JSON text."""
        return json.dumps({"name": self.name, "int8": self.int8, "preprocessing": self.preprocessing.to_json()})

    @classmethod
    def loads(cls, text: str) -> ModelFacts:
        """Inverse of `dumps`.

        Raises:
            ModelFileError: `dumps` did not write the text.
        """
        try:
            value = json.loads(text)
            preprocessing = Preprocessing.from_json(value["preprocessing"])
            return cls(name=str(value["name"]), preprocessing=preprocessing, int8=bool(value["int8"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(f"its metadata {METADATA!r} is not that of an exported network") from error


@dataclass(frozen=True)
class ModelFile:
    """An exported network that can be run."""

    facts: ModelFacts
    run: Runner
