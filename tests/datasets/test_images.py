"""Any photo becomes 8-bit RGB, upright; what is no photo becomes a sentence."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from detq.datasets.geometry import turn_upright
from detq.datasets.images import frame_sizes, image_size, read_image
from detq.errors import DataError


def _exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    return exif.tobytes()


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "tif"])
def test_every_kind_of_file_reads_as_rgb_of_the_size_in_its_header(half_white, suffix):
    """The kinds that cameras and tools write."""
    path = half_white(f"photo.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    image = read_image(path)
    assert image.shape == (6, 10, 3)
    assert image.dtype == np.uint8
    assert image.flags.writeable
    assert image_size(path) == (10, 6)
    assert image[1, 1].min() > 200
    assert image[4, 8].max() < 60


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_exif_orientations_read_upright(half_white, orientation, suffix):
    """As Pillow's own `exif_transpose` turns them; the header says the same size without decoding."""
    options = {"lossless": True} if suffix == "webp" else {}
    path = half_white(f"turned.{suffix}", exif=_exif(orientation), **options)
    with Image.open(path) as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored).convert("RGB"))
    image = read_image(path)
    np.testing.assert_array_equal(image, expected)
    assert image_size(path) == (image.shape[1], image.shape[0])
    assert frame_sizes(path)[1:] == ((10, 6), orientation)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_turn_with_the_pixels(half_white, orientation):
    """A box around the white corner of the stored image is around it in the upright one."""
    path = half_white("turned.png", exif=_exif(orientation))
    rows, columns = np.nonzero(read_image(path)[..., 0])
    around = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    box = turn_upright(np.asarray([[0, 0, 4, 3]], np.float32), (10, 6), orientation)
    np.testing.assert_array_equal(box[0], around)


def test_a_jpeg_from_a_phone_reads_upright(half_white):
    """JPEG keeps EXIF in a block of its own."""
    path = half_white("phone.jpg", exif=_exif(6), quality=100)
    assert image_size(path) == (6, 10)
    assert read_image(path).shape == (10, 6, 3)


@pytest.mark.parametrize("exif", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"])
def test_damaged_exif_leaves_the_image_as_it_is_stored(half_white, exif):
    """A photo is not refused for what its camera wrote beside it."""
    path = half_white("photo.png", exif=exif)
    assert read_image(path).shape == (6, 10, 3)


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_16_bit_gray_is_scaled_and_not_clipped(tmp_path, dtype):
    """65535 is white and half of it is gray; Pillow's own conversion would make both white."""
    values = np.asarray([[0, 128, 129, 32768, 65535]], dtype)
    path = tmp_path / "deep.tif"
    Image.fromarray(values).save(path)
    np.testing.assert_array_equal(read_image(path)[0, :, 0], [0, 0, 1, 128, 255])


def test_16_bit_gray_png_is_scaled(tmp_path):
    """The same for PNG, which older versions of Pillow open with 32 bits."""
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((3, 4), 25700, np.uint16)).save(path)
    assert (read_image(path) == 100).all()


def test_gray_palette_and_cmyk_become_rgb(tmp_path):
    """Each shows the colour it stands for."""
    for mode, suffix in [("L", "png"), ("1", "png"), ("P", "png"), ("CMYK", "jpg"), ("CMYK", "tif")]:
        path = tmp_path / f"{mode}.{suffix}"
        Image.new("RGB", (8, 4), "white").convert(mode).save(path)
        assert (read_image(path) >= 250).all(), mode


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
def test_what_is_transparent_lies_on_black(tmp_path, mode):
    """Whatever colour the file keeps under transparent pixels."""
    path = tmp_path / "clear.png"
    if mode == "P":
        Image.new("P", (4, 4), 3).save(path, transparency=3)
    else:
        Image.new("RGBA", (4, 4), (255, 255, 255, 0)).convert(mode).save(path)
    assert (read_image(path) == 0).all()


def test_float_pixels_are_refused_with_the_reason(tmp_path):
    """There is no telling what is white in them."""
    path = tmp_path / "depth.tif"
    Image.fromarray(np.full((2, 2), 0.5, np.float32)).save(path)
    with pytest.raises(DataError, match=r"depth\.tif: expected 8 or 16 bits.*float32.*convert it to 8-bit"):
        read_image(path)


def test_a_missing_image_is_a_sentence(tmp_path):
    """It names the file and what to do."""
    with pytest.raises(DataError, match=r"gone\.png does not exist; restore it"):
        read_image(tmp_path / "gone.png")


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"", r"an empty file \(0 bytes\)"), (b"hello there, image", "bytes that start with b'hello")],
)
def test_what_is_no_image_is_a_sentence(tmp_path, content, found):
    """File, expected, found and what to do, for the pixels and for the header."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    for read in (read_image, image_size):
        with pytest.raises(DataError, match=rf"photo\.jpg: expected a JPEG, .*, found {found}.*; copy it again"):
            read(path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "tif"])
def test_a_truncated_image_is_a_sentence(tmp_path, suffix):
    """Half a file never becomes half an image."""
    whole = tmp_path / f"whole.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(whole)
    half = tmp_path / f"half.{suffix}"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"half\.{suffix}"):
        read_image(half)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kind=st.sampled_from(["JPEG", "PNG", "BMP", "WEBP", "TIFF"]))
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_bytes_give_an_image_or_a_data_error(tmp_path, data, kind):
    """Nothing else ever comes out of the decoders."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 8), "red").save(buffer, kind)
    content = bytearray(buffer.getvalue())
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=8)):
        content[position] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    for read in (image_size, read_image):
        try:
            read(path)
        except DataError as error:
            assert str(path) in str(error)  # noqa: PT017  # not every damaged file fails


def test_an_exif_entry_of_another_type_is_not_an_orientation(half_white):
    """Only a 16-bit number is."""
    entry = struct.pack("<HHIHH", 274, 2, 1, 6, 0)
    path = half_white("odd.png", exif=b"II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4))
    assert image_size(path) == (10, 6)


def test_a_header_that_claims_a_hundred_million_pixels_is_no_warning(tmp_path):
    """Large photos exist; this one is only damaged, and one twice as large is refused."""
    path = tmp_path / "large.bmp"
    for side, message in ((10_000, "damaged or truncated"), (20_000, "too large to be a photo")):
        size, header = struct.pack("<ii", side, side), struct.pack("<HHIIiiII", 1, 24, 0, 0, 0, 0, 0, 0)
        path.write_bytes(b"BM" + struct.pack("<IHHII", 58, 0, 0, 54, 40) + size + header + b"1234")
        with pytest.raises(DataError, match=message):
            read_image(path)
