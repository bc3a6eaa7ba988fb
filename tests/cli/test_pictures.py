"""Pictures become the tensors that a model's input asks for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnncc.cli.pictures import PictureOptions, read_pictures
from cnncc.errors import InputError
from cnncc.ir import parse_type

PLAIN = PictureOptions(scale=1.0)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture 6 wide and 4 high: red grows to the right by 10, green downwards by 20, blue is 7."""
    rows, columns = np.mgrid[:4, :6]
    path = tmp_path / "picture.png"
    Image.fromarray(np.stack([columns * 10, rows * 20, np.full((4, 6), 7)], -1).astype(np.uint8)).save(path)
    return path


@pytest.mark.parametrize("type_", ["f32[1,3,4,6]", "f32[N,3,H,W]", "f32[3,4,6]", "f32[3,H,W]"])
def test_channels_first(picture: Path, type_: str) -> None:
    x = read_pictures([picture], "x", parse_type(type_), PLAIN)
    assert x.dtype == np.float32 and x.flags.c_contiguous
    assert x.shape == ((1, 3, 4, 6) if type_.count(",") == 3 else (3, 4, 6))
    red, green, blue = x.reshape(3, 4, 6)
    np.testing.assert_array_equal(red[0], [0, 10, 20, 30, 40, 50])
    np.testing.assert_array_equal(green[:, 0], [0, 20, 40, 60])
    assert (blue == 7).all()


@pytest.mark.parametrize("type_", ["f32[1,4,6,3]", "f32[N,H,W,3]", "u8[1,4,6,3]", "f16[4,6,3]"])
def test_channels_last(picture: Path, type_: str) -> None:
    options = PictureOptions() if type_.startswith("u8") else PLAIN
    x = read_pictures([picture], "x", parse_type(type_), options)
    assert x.dtype == parse_type(type_).dtype.numpy
    np.testing.assert_array_equal(x.reshape(4, 6, 3)[2, 5], [50, 40, 7])


def test_one_channel_is_grey_and_bgr_is_reversed(picture: Path) -> None:
    grey = read_pictures([picture], "x", parse_type("f32[1,1,4,6]"), PLAIN)
    np.testing.assert_array_equal(grey[0, 0], np.asarray(Image.open(picture).convert("L")))
    turned = read_pictures([picture], "x", parse_type("f32[1,3,4,6]"), PictureOptions(scale=1.0, bgr=True))
    np.testing.assert_array_equal(turned[0, 2, 0], [0, 10, 20, 30, 40, 50])


def test_normalisation(picture: Path) -> None:
    options = PictureOptions(scale=0.5, mean=(1.0, 2.0, 3.0), std=(4.0,))
    x = read_pictures([picture], "x", parse_type("f32[1,3,4,6]"), options)
    np.testing.assert_allclose(x[0, :, 3, 5], [(25 - 1) / 4, (30 - 2) / 4, (3.5 - 3) / 4])
    x = read_pictures([picture], "x", parse_type("f32[1,3,4,6]"), PictureOptions())
    np.testing.assert_allclose(x.max(), 60 / 255, rtol=1e-6)


def test_a_longer_side_is_cut_or_squeezed(tmp_path: Path) -> None:
    path = tmp_path / "wide.png"  # thirds of black, white and black
    Image.fromarray(np.repeat(np.array([[0, 255, 0]], np.uint8), 8, axis=0).repeat(8, axis=1)).save(path)
    type_ = parse_type("f32[1,1,8,8]")
    assert (read_pictures([path], "x", type_, PLAIN) == 255).all()
    squeezed = read_pictures([path], "x", type_, PictureOptions(scale=1.0, stretch=True))
    assert squeezed[0, 0, 4, 0] == 0 and squeezed[0, 0, 4, 4] == 255


def test_pictures_are_turned_as_their_camera_says(tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[274] = 6  # to be shown turned by 90 degrees
    Image.new("L", (6, 4)).save(path, exif=exif)
    assert read_pictures([path], "x", parse_type("f32[1,1,H,W]"), PLAIN).shape == (1, 1, 6, 4)


def test_a_batch(picture: Path) -> None:
    assert read_pictures([picture] * 3, "x", parse_type("f32[N,3,4,6]"), PLAIN).shape == (3, 3, 4, 6)
    with pytest.raises(InputError, match="takes 1 pictures at once, not 3"):
        read_pictures([picture] * 3, "x", parse_type("f32[1,3,4,6]"), PLAIN)
    with pytest.raises(InputError, match="takes one picture, not 2"):
        read_pictures([picture] * 2, "x", parse_type("f32[3,4,6]"), PLAIN)
    small = picture.with_name("small.png")
    Image.new("RGB", (3, 3)).save(small)
    with pytest.raises(InputError, match="differ in size"):
        read_pictures([picture, small], "x", parse_type("f32[N,3,H,W]"), PLAIN)


@pytest.mark.parametrize(("type_", "options", "words"), [
    ("f32[N,10]", PLAIN, "not one for a picture"),
    ("f32[1,8,4,6]", PLAIN, "no axis of 1 or 3 channels"),
    ("i64[1,3,4,6]", PLAIN, "i64, which a picture is not"),
    ("u8[1,3,4,6]", PLAIN, "takes raw bytes"),
    ("f32[1,3,4,6]", PictureOptions(mean=(1.0, 2.0)), "--mean has 2 numbers, but the input 'x' has 3 channels"),
])
def test_refusals(picture: Path, type_: str, options: PictureOptions, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_pictures([picture], "x", parse_type(type_), options)
