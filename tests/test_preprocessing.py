from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.image_files import write_deep_png
from trainables.datasets import load_data
from trainables.loader import DeviceImages
from trainables.pictures import PictureError
from trainables.preprocessing import Preprocessing
from trainables.settings import DataSettings


def preprocessing(channels: int = 3, size: tuple[int, int] = (6, 9)) -> Preprocessing:
    return Preprocessing(
        image_size=size,
        channels=channels,
        mean=tuple(10.0 + channel for channel in range(channels)),
        deviation=tuple(2.0 + channel for channel in range(channels)),
        classes=("cat", "dog"),
    )


def picture(path: Path, mode: str = "RGB", size: tuple[int, int] = (31, 17)) -> Path:
    """Write a picture of random pixels; `size` is width and height."""
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def test_json_round_trip() -> None:
    value = preprocessing()
    assert Preprocessing.from_json(json.loads(json.dumps(value.to_json()))) == value


@pytest.mark.parametrize(
    "change",
    [{"image_size": None}, {"image_size": [1, 2, 3]}, {"mean": 3}, {"classes": None}, {"colour": "red"}],
    ids=str,
)
def test_malformed_values_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  some messages are Python's own
        Preprocessing.from_json({**preprocessing().to_json(), **change})


def test_the_error_names_a_missing_field() -> None:
    with pytest.raises(ValueError, match="not a preprocessing: 'mean'"):
        Preprocessing.from_json({"image_size": [1, 1]})


def test_a_picture_is_read_in_the_same_way_as_by_the_data_set(tmp_path: Path) -> None:
    """From a folder of images to the network's input."""
    for index in range(10):
        for name in ("cat", "dog"):
            picture(tmp_path / name / f"{index}.png", size=(20 + index, 33))
    settings = DataSettings(name="image_folder", root=str(tmp_path), image_size=8)
    splits = load_data(settings, seed=0)
    ours = Preprocessing.of(json.loads(json.dumps(splits.describe())))
    known = {image.tobytes() for part in (splits.train, splits.validation, splits.test) for image in part.images}
    assert {ours.read(path).tobytes() for path in tmp_path.rglob("*.png")} == known

    import torch

    on_device = DeviceImages(splits.train, mean=splits.mean, deviation=splits.deviation, device=torch.device("cpu"))
    ((theirs, _),) = on_device.in_order(100)
    seen = ours.normalised(splits.train.images)
    assert seen.dtype == np.float32
    assert seen.shape == tuple(theirs.shape)
    assert seen.flags["C_CONTIGUOUS"]
    np.testing.assert_allclose(seen, theirs.numpy(), rtol=1e-6, atol=1e-6)


def test_height_comes_before_width(tmp_path: Path) -> None:
    assert preprocessing(size=(6, 9)).read(picture(tmp_path / "a.png")).shape == (6, 9, 3)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK", "1"])
def test_a_network_of_three_channels_takes_any_picture(mode: str, tmp_path: Path) -> None:
    path = picture(tmp_path / ("a.jpg" if mode == "CMYK" else "a.png"), mode)
    assert preprocessing(3).read(path).shape == (6, 9, 3)


@pytest.mark.parametrize("mode", ["L", "1"])
def test_a_network_of_one_channel_takes_grey_pictures(mode: str, tmp_path: Path) -> None:
    assert preprocessing(1).read(picture(tmp_path / "a.png", mode)).shape == (6, 9, 1)


@pytest.mark.parametrize(("channels", "mode", "theirs"), [(1, "RGB", 3), (1, "RGBA", 4), (4, "RGB", 3), (2, "L", 1)])
def test_other_channels_are_refused(channels: int, mode: str, theirs: int, tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", mode)
    with pytest.raises(
        PictureError, match=rf"a.png has {theirs} channels \(mode {mode}\); the network takes {channels}"
    ):
        preprocessing(channels).read(path)


def test_grey_pictures_of_16_bits_are_refused_and_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(tmp_path / "a.png")
    for channels in (1, 3):
        with pytest.raises(PictureError, match=r"a.png: .* more than 8 bits per channel \(mode I;16\)"):
            preprocessing(channels).read(tmp_path / "a.png")


@pytest.mark.parametrize("colour_type", [2, 4, 6])
def test_pictures_of_16_bits_in_colour_or_with_alpha_are_refused(colour_type: int, tmp_path: Path) -> None:
    write_deep_png(tmp_path / "a.png", colour_type)
    with pytest.raises(PictureError, match=r"a.png: a picture has more than 8 bits per channel"):
        preprocessing().read(tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_picture_is_turned_upright(mode: str, tmp_path: Path) -> None:
    """The upper half is bright; the file has it on the left, and says so."""
    pixels = np.zeros((6, 9), np.uint8)
    pixels[:3] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(np.rot90(pixels).copy()).convert(mode).save(tmp_path / "a.png", exif=exif)
    read = preprocessing(len(Image.new(mode, (1, 1)).getbands())).read(tmp_path / "a.png")
    assert (read == pixels[..., None]).all()


def test_a_picture_with_malformed_exif_is_read_as_it_is(tmp_path: Path) -> None:
    Image.new("RGB", (9, 6), (1, 2, 3)).save(tmp_path / "a.png", exif=b"Exif\0\0nonsense")
    assert (preprocessing().read(tmp_path / "a.png") == [1, 2, 3]).all()


def test_a_picture_of_too_many_pixels_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.reading.MAX_PIXELS", 100)
    with pytest.raises(PictureError, match=r"a.png has 31x17 = 527 pixels; at most 100 are read"):
        preprocessing().read(picture(tmp_path / "a.png"))


@pytest.mark.parametrize("kept", [0, 1, 20, 60, 200])
@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp"])
def test_a_truncated_or_malformed_picture_is_refused(kept: int, suffix: str, tmp_path: Path) -> None:
    path = picture(tmp_path / f"a.{suffix}", size=(64, 64))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(PictureError, match=f"a.{suffix} cannot be read as a picture"):
        preprocessing().read(path)


def test_a_missing_picture_has_its_own_error(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="no.png: there is no such file"):
        preprocessing().read(tmp_path / "no.png")
    with pytest.raises(PictureError, match="cannot be read as a picture"):
        preprocessing().read(tmp_path)
