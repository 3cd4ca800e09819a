"""Data of signals: what is read as what, what is refused, and all that follows from one axis instead of two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from orchestrator.config.components import make_space, space_of
from orchestrator.config.loading import load_config
from orchestrator.config.search_config import SearchConfig, SpaceSettings
from orchestrator.errors import ConfigError
from orchestrator.search.passed import PassedParts
from orchestrator.search.setup import SearchComponents
from tests.commands import run
from tests.documentation import ROOT
from tests.signal_files import waves, write_wav, write_wav_folders
from trainables.datasets import DataSplits, load_data
from trainables.image_arrays import DataError
from trainables.preprocessing import Preprocessing
from trainables.settings import MAX_LENGTH, DataSettings
from trainables.sounds import SoundError
from trainables.tasks.signals import SignalReading


def load(root: Path, **settings: Any) -> DataSplits:
    return load_data(DataSettings(name="signal", root=str(root), validation_fraction=0.25, **settings), seed=0)


def saved(path: Path, **arrays: NDArray[Any]) -> Path:
    np.savez(path, allow_pickle=False, **arrays)
    return path


def signal_file(path: Path, count: int = 40, **values: Any) -> Path:
    signals, labels = waves(count, **values)
    return saved(path, signals=signals, labels=labels)


def test_arrays_are_split_and_normalised_per_channel(tmp_path: Path) -> None:
    signals, labels = waves(40, channels=2)
    signals[..., 1] *= 10
    splits = load(saved(tmp_path / "a.npz", signals=signals, labels=labels))
    assert splits.classes == ("high", "low")
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [24, 8, 8]
    assert splits.train.images.shape == (24, 24, 2)
    assert splits.train.images.dtype == np.float32
    np.testing.assert_allclose(splits.mean, splits.train.images.mean(axis=(0, 1)), rtol=1e-5)
    np.testing.assert_allclose(splits.deviation, splits.train.images.std(axis=(0, 1)), rtol=1e-5)
    facts = json.loads(json.dumps(splits.describe()))
    assert facts["image_shape"] == [24, 2]
    assert facts["reading"] == {"task": "signal", "rate": None}
    assert "24 training, 8 validation and 8 test signals" in splits.summary()


def test_parts_of_arrays_are_used_as_they_are(tmp_path: Path) -> None:
    parts = {prefix: waves(count, seed=count) for prefix, count in (("", 20), ("validation_", 10), ("test_", 6))}
    arrays = {f"{prefix}signals": signals[..., 0] for prefix, (signals, _) in parts.items()}  # without channels
    splits = load(saved(tmp_path / "a.npz", **arrays, **{f"{prefix}labels": part[1] for prefix, part in parts.items()}))
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [20, 10, 6]
    np.testing.assert_array_equal(splits.test.images, parts["test_"][0])


@pytest.mark.parametrize(("length", "remark"), [(10, "40 of 40 signals cut to 10 samples"), (30, "padded with zeros")])
def test_signals_are_cut_or_padded_and_that_is_said(tmp_path: Path, length: int, remark: str) -> None:
    splits = load(signal_file(tmp_path / "a.npz"), length=length)
    assert splits.train.images.shape[1] == length
    assert remark in splits.summary()
    assert (splits.train.images[:, 24:] == 0).all()


def test_wav_files_are_read_as_numbers_below_one(tmp_path: Path) -> None:
    splits = load(write_wav_folders(tmp_path, lengths=(24, 20)))
    assert splits.classes == ("high", "low")
    assert splits.train.images.shape[1:] == (24, 1)
    assert "8000 samples per second" in splits.summary()
    assert "6 of 12 signals padded with zeros to 24 samples" in splits.summary()
    assert splits.describe()["reading"] == {"task": "signal", "rate": 8000}
    assert 0.2 < float(np.abs(splits.train.images).max()) <= 1


@pytest.mark.parametrize(("kind", "half"), [("uint8", 192), ("int16", 2**14), ("int32", 2**30), ("float32", 0.5)])
def test_all_kinds_of_samples_have_one_scale(tmp_path: Path, kind: str, half: float) -> None:
    path = write_wav(tmp_path / "a.wav", np.full((8, 2), half, kind))
    read = SignalReading(8000).read(path, size=(10,), channels=2)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, np.pad(np.full((8, 2), 0.5), ((0, 2), (0, 0))))


def test_wav_files_in_parts(tmp_path: Path) -> None:
    for part in ("train", "test"):
        write_wav_folders(tmp_path / part)
    splits = load(tmp_path)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [9, 3, 12]
    assert "train signals from 'train', test signals from 'test'" in splits.summary()


def bad_arrays(**changes: NDArray[Any]) -> dict[str, NDArray[Any]]:
    signals, labels = waves(20)
    return {"signals": signals, "labels": labels, **changes}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": waves(20)[1]}, "'signals' is missing"),
        ({"signals": waves(20)[0]}, "'labels' is missing"),
        (
            bad_arrays(signals=np.zeros((20, 4, 4, 1))),
            r"float64 of shape \[20, 4, 4, 1\]; each must be numbers of shape",
        ),
        (bad_arrays(signals=np.full((20, 8), "a")), "each must be numbers of shape"),
        (bad_arrays(signals=np.full((20, 8), np.nan)), "have values that are not finite"),
        (bad_arrays(signals=np.zeros((20, 0, 1))), "are empty"),
        (bad_arrays(labels=waves(19)[1]), "20 signals but labels of shape .19.; one label per signal"),
        (bad_arrays(labels=np.zeros(20, int)), "has 1 class"),
        (
            bad_arrays(signals=np.zeros((20, MAX_LENGTH + 1, 1), np.int8)),
            "at most 262,144 are read: cut them with data.l",
        ),
        (
            bad_arrays(test_signals=np.zeros((4, 9, 1)), test_labels=waves(4)[1]),
            r"have the shape \[9, 1\], and the training signals \[24, 1\]; they must be the same \(data.length",
        ),
    ],
    ids=range(10),
)
def test_arrays_that_cannot_be_used_are_refused(tmp_path: Path, arrays: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(saved(tmp_path / "a.npz", **arrays))


def test_wav_files_that_do_not_fit_each_other_are_refused(tmp_path: Path) -> None:
    write_wav_folders(tmp_path)
    odd = write_wav(tmp_path / "low" / "zz.wav", np.zeros(24, np.int16), rate=16000)
    with pytest.raises(DataError, match="high/1.wav has 8000 and low/zz.wav has 16000 samples per second; resample"):
        load(tmp_path)
    write_wav(odd, np.zeros((24, 2), np.int16))
    with pytest.raises(DataError, match="high/1.wav has 1 and low/zz.wav has 2 channels; convert"):
        load(tmp_path)
    write_wav(odd, np.zeros(MAX_LENGTH + 1, np.int16))
    with pytest.raises(DataError, match="low/zz.wav in data.root = .* has 262,145 samples; at most 262,144 are read"):
        load(tmp_path)
    assert load(tmp_path, length=8).train.images.shape[1] == 8
    odd.write_bytes(b"no sound")
    with pytest.raises(DataError, match="zz.wav cannot be read as a WAV file; repair or remove it"):
        load(tmp_path)
    odd.write_bytes(b"")
    with pytest.raises(DataError, match="zz.wav cannot be read as a WAV file"):
        load(tmp_path)


def test_folders_without_wav_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(b"")
    with pytest.raises(DataError, match="needs one folder of WAV files per class; it has 1 .mp3"):
        load(tmp_path)
    (tmp_path / "low").mkdir()
    write_wav(tmp_path / "high" / "1.wav", np.zeros(4, np.int16))
    with pytest.raises(DataError, match="has the folder 'low' without a WAV file"):
        load(tmp_path)
    with pytest.raises(DataError, match="is not an .npz file of plain arrays"):
        load(tmp_path / "missing.npz")


def test_the_preprocessing_reads_and_normalises_signals(tmp_path: Path) -> None:
    splits = load(write_wav_folders(tmp_path / "data"))
    ours = Preprocessing.of(json.loads(json.dumps(splits.describe())))
    assert Preprocessing.from_json(json.loads(json.dumps(ours.to_json()))) == ours
    paths = sorted((tmp_path / "data").rglob("*.wav"))
    read = np.stack([ours.read(path) for path in paths])
    assert read.shape == (12, 24, 1)
    normalised = ours.normalised(read)
    assert normalised.shape == (12, 1, 24)
    np.testing.assert_allclose(normalised[:, 0], (read[..., 0] - ours.mean[0]) / ours.deviation[0], rtol=1e-5)


def test_files_that_a_network_cannot_take_are_refused(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", np.zeros(24, np.int16), rate=16000)
    for reading, channels, message in (
        (SignalReading(8000), 1, "a.wav has 16000 samples per second; the network takes 8000"),
        (SignalReading(16000), 2, "a.wav has 1 channels; the network takes 2"),
        (SignalReading(None), 1, "a.wav cannot be used: .* give it an array like these"),
    ):
        with pytest.raises(SoundError, match=message):
            reading.read(path, size=(24,), channels=channels)
    np.save(tmp_path / "a.npy", np.arange(5))
    read = SignalReading(None).read(tmp_path / "a.npy", size=(6,), channels=1)
    np.testing.assert_array_equal(read[:, 0], [0, 1, 2, 3, 4, 0])
    np.save(tmp_path / "whole.npy", np.array([-32768, 16384], np.int16))
    as_wav = SignalReading(8000).read(tmp_path / "whole.npy", size=(2,), channels=1)
    np.testing.assert_array_equal(as_wav[:, 0], [-1.0, 0.5])  # as the WAV files of the training
    np.save(tmp_path / "long.npy", np.array([-32768, 16384]))
    with pytest.raises(SoundError, match="long.npy is int64; the network was trained on WAV files: give it int16"):
        SignalReading(8000).read(tmp_path / "long.npy", size=(2,), channels=1)
    np.save(tmp_path / "b.npy", np.zeros((2, 2, 2)))
    for name, message in (
        ("b.npy", "must be numbers of shape"),
        ("no.npy", "no such file"),
        ("no.wav", "no such file"),
    ):
        with pytest.raises(SoundError, match=message):
            SignalReading(None).read(tmp_path / name, size=(6,), channels=1)
    (tmp_path / "c.npy").write_bytes(b"x")
    with pytest.raises(SoundError, match="c.npy cannot be read as a .npy array"):
        SignalReading(None).read(tmp_path / "c.npy", size=(6,), channels=1)


def signal_config(**training: Any) -> SearchConfig:
    return SearchConfig.model_validate({"data": {"name": "signal", "root": "a.npz"}, "training": training})


@pytest.mark.parametrize(
    ("key", "value"),
    [("training.flip", True), ("training.cutout", 8), ("training.crop_padding", 2), ("data.image_size", 8)],
)
def test_settings_for_images_are_refused(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{key} is {value}, which means nothing for signal data; leave it out"):
        load_config("[data]\nname = 'signal'\n", [f"{key}={str(value).lower()}"])


def test_settings_for_signals_are_refused_for_images() -> None:
    with pytest.raises(ConfigError, match="data.length is 9, which means nothing for digits data"):
        load_config("[data]\nlength = 9\n")


def test_what_a_preset_sets_for_images_is_left_out_and_said() -> None:
    config = signal_config(preset="nasnet-cifar")
    assert (config.training.flip, config.training.crop_padding, config.training.cutout) == (False, 0, 0)
    assert config.training.epochs == 600
    assert SearchConfig.model_validate(config.model_dump(mode="json")) == config
    assert SearchConfig(data=config.data, training=config.training) == config
    components = SearchComponents.of(config, PassedParts())
    assert components.remarks == [
        "left out of the space, because they do not exist for signal data: conv_1x3_3x1, conv_1x7_7x1",
        "left out of the preset, because they mean nothing for signal data: training.crop_padding, training.flip, "
        "training.cutout",
    ]
    with pytest.raises(ConfigError, match="training.cutout is 7"):
        load_config(config, ["training.cutout=7"])


@pytest.mark.parametrize("config", [signal_config(), load_config("[space]\nname = 'pnasnet'\nblocks = 2\n")])
def test_a_program_gets_the_space_that_a_search_uses(config: SearchConfig) -> None:
    space = space_of(config)
    assert space == SearchComponents.of(config, PassedParts()).space
    assert space != make_space(SpaceSettings())


def test_images_keep_their_space_and_preset() -> None:
    config = SearchConfig.model_validate({"training": {"preset": "nasnet-cifar"}})
    components = SearchComponents.of(config, PassedParts())
    assert config.training.flip
    assert components.remarks == []
    assert components.space == make_space(SpaceSettings())


def test_a_function_gives_signals_if_the_task_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_waves.py").write_text("from tests.signal_files import waves\ndef made(): return waves(20)\n")
    monkeypatch.syspath_prepend(tmp_path)
    splits = load_data(DataSettings(name="own_waves:made", task="signal"), 0)
    assert splits.train.images.shape == (14, 24, 1)
    assert (splits.classes, splits.reading) == (("high", "low"), SignalReading(None))


def test_a_space_without_any_operation_left_is_refused() -> None:
    config = SearchConfig.model_validate({"space": {"name": "tests.spaces_of_pairs:PAIRS"}, "data": {"name": "signal"}})
    with pytest.raises(ConfigError, match="none of the operations of space 'pairs' exists for data of 1 axis"):
        SearchComponents.of(config, PassedParts())


def test_the_example_makes_its_data_and_reads_them(tmp_path: Path) -> None:
    run(str(ROOT / "examples" / "signal_data.py"), cwd=tmp_path)
    config = load_config(ROOT / "examples" / "signal.toml", [f"data.root={tmp_path / 'waves.npz'}"])
    splits = load_data(config.data, 0)
    assert splits.classes == ("sawtooth", "sine", "square")
    assert splits.train.images.shape == (576, 128, 1)
