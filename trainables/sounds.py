"""Reads WAV files with SciPy. No torch. Knows files and samples; does not know what the sounds are for."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.file_kind import FileKind
from trainables.settings import printable

WAV_FILES = FileKind("WAV file", "signal", frozenset({".wav"}), ".wav")


WHOLE_NUMBERS = ("uint8", "int16", "int32")
"""The types of whole numbers in WAV files."""


class SoundError(ValueError):
    """A sound cannot be read or does not fit; the message names the file."""


def read_wav(path: Path) -> tuple[int, NDArray[np.float32]]:
    """Read a WAV file; return its rate (samples per second) and its samples [length, channels], whole numbers as -1..1.

    Raises:
        SoundError: the file does not exist, is not a WAV file, or is empty.
    """
    from scipy.io import wavfile

    name = printable(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # of chunks that hold no samples
            rate, samples = wavfile.read(path)
    except FileNotFoundError as error:
        raise SoundError(f"{name}: there is no such file") from error
    except Exception as error:  # SciPy raises exceptions of many classes on a malformed file
        raise SoundError(f"{name} cannot be read as a WAV file") from error
    if not samples.size:
        raise SoundError(f"{name} has no samples")
    return int(rate), scaled(samples.reshape(len(samples), -1))


def scaled(samples: NDArray[Any]) -> NDArray[np.float32]:
    """The samples of a WAV file as floats; whole numbers are scaled to -1..1."""
    if samples.dtype == np.uint8:  # 8 bits are without a sign
        return ((samples.astype(np.float32) - 128) / 128).astype(np.float32)
    full = -float(np.iinfo(samples.dtype).min) if samples.dtype.kind == "i" else 1.0
    return (samples / full).astype(np.float32)
