"""The classification of signals: arrays, or WAV files of one rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from trainables.class_folders import Place, find_class_folders
from trainables.data_functions import load_function
from trainables.file_kind import FileKind
from trainables.image_arrays import DataError, DataSource, ExampleCheck, check_filled, make_source
from trainables.layers import Size
from trainables.npz_file import read_npz
from trainables.settings import MAX_LENGTH, DataSettings, printable
from trainables.sounds import WAV_FILES, WHOLE_NUMBERS, SoundError, read_wav, scaled
from trainables.tasks.task import FOR_MASKS, FOR_TEXTS, Task

SIGNAL_FORMAT = "numbers of shape [length(, channels)]"


@dataclass(frozen=True)
class SignalReading:
    """Signals in WAV files of one rate or in `.npy` arrays, padded with zeros or cut to the network's length."""

    rate: int | None
    """Samples per second; None if the training signals were arrays, which state no rate."""

    files: ClassVar[FileKind] = FileKind("signal", "signal", frozenset({".wav", ".npy"}), ".wav or .npy")
    tokens: ClassVar[None] = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`."""
        return cls(value["rate"])

    def to_json(self) -> dict[str, Any]:
        return {"task": "signal", **asdict(self)}

    def read(self, path: Path, *, size: Size, channels: int) -> NDArray[np.float32]:
        """See `Reading`."""
        signal = self._read_array(path) if path.suffix.lower() == ".npy" else self._read_wav(path)
        if signal.shape[1] != channels:
            raise SoundError(f"{printable(path)} has {signal.shape[1]} channels; the network takes {channels}")
        return _of_length(signal, size[0])

    def _read_array(self, path: Path) -> NDArray[np.float32]:
        found = _read_array(path)
        if self.rate is None:
            return found.astype(np.float32)
        if found.dtype.kind != "f" and found.dtype not in WHOLE_NUMBERS:
            raise SoundError(
                f"{printable(path)} is {found.dtype}; the network was trained on WAV files: give it int16, or numbers "
                "of -1 to 1"
            )
        return scaled(found)

    def _read_wav(self, path: Path) -> NDArray[np.float32]:
        rate, samples = read_wav(path)
        if self.rate is None:
            raise SoundError(
                f"{printable(path)} cannot be used: the network was trained on arrays without a rate; give it an array "
                "like these, as a .npy file"
            )
        if rate != self.rate:
            raise SoundError(f"{printable(path)} has {rate} samples per second; the network takes {self.rate}")
        return samples


def load_signals(settings: DataSettings) -> DataSource:
    """Signals: an .npz file with `signals` [n, length, channels] and `labels`, or one folder of WAV files per class."""
    return _load_folder(settings) if Path(settings.root).is_dir() else _load_npz(settings)


def _load_npz(settings: DataSettings) -> DataSource:
    parts, names, remarks = read_npz(settings, "signals", "labels")
    length = settings.length
    if length is not None:
        lengths = [signals.shape[1] for signals, _ in parts.values() if signals.ndim > 1 for _ in range(len(signals))]
        remarks += _length_remarks(lengths, length)
    return make_source(
        settings,
        parts[""],
        validation=parts.get("validation_"),
        test=parts.get("test_"),
        names=names,
        remarks=remarks,
        kind=_CHECK,
        reading=SignalReading(None),
    )


@dataclass(frozen=True)
class _Sound:
    """A WAV file of a data set."""

    label: int
    name: str
    rate: int
    samples: NDArray[np.float32]

    @classmethod
    def read(cls, root: Path, label: int, place: Place) -> Self:
        try:
            return cls(label, printable("/".join(place)), *read_wav(root.joinpath(*place)))
        except SoundError as error:
            raise DataError(f"{error}; repair or remove it (data.root)") from error


def _load_folder(settings: DataSettings) -> DataSource:
    root = Path(settings.root)
    folders = find_class_folders(root, WAV_FILES)
    parts = {role: [_Sound.read(root, *place) for place in folders.places(role)] for role in folders.parts}
    sounds = [sound for part in parts.values() for sound in part]
    rate = _same_for_all(sounds, lambda sound: sound.rate, "samples per second; resample them to one rate")
    _same_for_all(sounds, lambda sound: sound.samples.shape[1], "channels; convert them to the same number")
    lengths = [len(sound.samples) for sound in sounds]
    length = settings.length or max(lengths)
    if length > MAX_LENGTH:
        longest = sounds[lengths.index(length)]
        raise DataError(
            f"{longest.name} in data.root = {settings.root!r} has {length:,} samples; at most {MAX_LENGTH:,} are read: "
            "cut all signals with data.length"
        )
    arrays = {
        role: (
            np.stack([_of_length(sound.samples, length) for sound in part]),
            np.array([sound.label for sound in part], np.int64),
        )
        for role, part in parts.items()
    }
    return make_source(
        settings,
        arrays["train"],
        validation=arrays.get("validation"),
        test=arrays.get("test"),
        names=[printable(name) for name in folders.classes],
        remarks=[*folders.remarks, f"{rate} samples per second", *_length_remarks(lengths, length)],
        kind=_CHECK,
        reading=SignalReading(rate),
    )


def _same_for_all(sounds: list[_Sound], value_of: Callable[[_Sound], int], what: str) -> int:
    first = value_of(sounds[0])
    for sound in sounds:
        if value_of(sound) != first:
            raise DataError(f"{sounds[0].name} has {first} and {sound.name} has {value_of(sound)} {what} (data.root)")
    return first


def _length_remarks(lengths: list[int], length: int) -> list[str]:
    """How many signals are padded or cut."""
    shorter, longer = sum(one < length for one in lengths), sum(one > length for one in lengths)
    return [
        f"{count} of {len(lengths)} signals {how} to {length} samples"
        for count, how in ((shorter, "padded with zeros"), (longer, "cut"))
        if count
    ]


def _of_length(signal: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """The beginning of a signal [length, channels], with zeros at its end if it is too short."""
    return np.pad(signal[:length], ((0, max(length - len(signal), 0)), (0, 0)))


def _check_signals(settings: DataSettings, signals: NDArray[Any], which: str) -> NDArray[np.float32]:
    """The signals as float32 [n, length, channels]."""
    if signals.ndim not in (2, 3) or signals.dtype.kind not in "fiu":
        raise DataError(
            f"{which} of data set {settings.name!r} are {signals.dtype} of shape {list(signals.shape)}; each must be "
            f"{SIGNAL_FORMAT} (data.root)"
        )
    check_filled(settings, signals, which)
    signals = signals[..., None] if signals.ndim == 2 else signals
    length = settings.length or signals.shape[1]
    if length > MAX_LENGTH:
        raise DataError(
            f"{which} of data set {settings.name!r} have {length:,} samples; at most {MAX_LENGTH:,} are read: cut them "
            "with data.length"
        )
    if signals.shape[1] != length:
        signals = np.stack([_of_length(signal, length) for signal in signals])
    if not np.isfinite(signals).all():
        raise DataError(f"{which} of data set {settings.name!r} have values that are not finite (data.root)")
    return np.ascontiguousarray(signals, np.float32)


def _read_array(path: Path) -> NDArray[Any]:
    try:
        signal = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise SoundError(f"{printable(path)}: there is no such file") from error
    except Exception as error:  # NumPy raises exceptions of many classes on a malformed file
        raise SoundError(f"{printable(path)} cannot be read as a .npy array") from error
    if signal.ndim not in (1, 2) or signal.dtype.kind not in "fiu" or not signal.size:
        raise SoundError(
            f"{printable(path)} is {signal.dtype} of shape {list(signal.shape)}; it must be {SIGNAL_FORMAT}"
        )
    return signal.reshape(len(signal), -1)


_CHECK = ExampleCheck("signals", "data.length", _check_signals)

SIGNALS = Task(
    data_sets={"signal": load_signals},
    from_function=partial(load_function, kind=_CHECK, reading=SignalReading(None)),
    axes=1,
    reading=SignalReading.from_json,
    unused=("data.image_size", "training.crop_padding", "training.flip", "training.cutout", *FOR_MASKS, *FOR_TEXTS),
)
