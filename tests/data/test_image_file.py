from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from medadv.data.errors import DataError
from medadv.data.image_file import read_image_file

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
RGB = np.arange(144, dtype=np.uint8).reshape(6, 8, 3)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def raw_png(width: int, height: int, depth: int, colour_type: int, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_grey_png_is_divided_by_255(tmp_path, write_png) -> None:
    image = read_image_file(write_png(tmp_path / "a.png", GREY))
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, (GREY / np.float32(255))[None])


def test_colour_png_has_its_channels_first(tmp_path, write_png) -> None:
    image = read_image_file(write_png(tmp_path / "a.png", RGB))
    np.testing.assert_array_equal(image, RGB.transpose(2, 0, 1) / np.float32(255))


def test_16_bit_grey_keeps_all_its_bits(tmp_path) -> None:
    values = np.array([[0, 1, 257], [32768, 65534, 65535]], np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    path = tmp_path / "a.png"
    path.write_bytes(raw_png(3, 2, 16, 0, rows))
    np.testing.assert_array_equal(read_image_file(path)[0], values / np.float32(65535))


@pytest.mark.parametrize(("depth", "largest"), [(1, 1), (2, 3), (4, 15)])
def test_few_bits_span_the_whole_range(tmp_path, depth, largest) -> None:
    values = [0, largest]
    packed = (values[0] << (8 - depth)) | (values[1] << (8 - 2 * depth))
    path = tmp_path / "a.png"
    path.write_bytes(raw_png(2, 1, depth, 0, bytes([0, packed])))
    np.testing.assert_array_equal(read_image_file(path)[0], [[0.0, 1.0]])


def test_jpeg(tmp_path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(np.full((16, 16), 128, np.uint8)).save(path, quality=95)
    np.testing.assert_allclose(read_image_file(path), 128 / 255, atol=1 / 255)


def test_a_palette_becomes_its_colours(tmp_path) -> None:
    path = tmp_path / "a.png"
    picture = Image.fromarray(np.array([[0, 1]], np.uint8), mode=None).convert("P")
    picture.putpalette([10, 20, 30, 200, 210, 220])
    picture.save(path)
    expected = np.array([[[10, 200]], [[20, 210]], [[30, 220]]], np.uint8) / np.float32(255)
    np.testing.assert_array_equal(read_image_file(path), expected)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_dropped_where_opaque_and_refused_elsewhere(tmp_path, mode) -> None:
    picture = Image.fromarray(GREY).convert(mode)
    picture.save(tmp_path / "opaque.png")
    image = read_image_file(tmp_path / "opaque.png")
    assert len(image) == (1 if mode == "LA" else 3)
    np.testing.assert_array_equal(image[0], GREY / np.float32(255))
    picture.putalpha(254)
    picture.save(tmp_path / "clear.png")
    with pytest.raises(DataError, match=r"clear\.png: partly transparent"):
        read_image_file(tmp_path / "clear.png")


def test_a_transparent_grey_value_is_refused(tmp_path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png", transparency=5)
    with pytest.raises(DataError, match="partly transparent"):
        read_image_file(tmp_path / "a.png")


def test_16_bit_colour_is_refused_rather_than_cut(tmp_path) -> None:
    (tmp_path / "a.png").write_bytes(raw_png(1, 1, 16, 2, bytes(7)))
    with pytest.raises(DataError, match="16-bit colour"):
        read_image_file(tmp_path / "a.png")


def test_cmyk_is_refused(tmp_path) -> None:
    Image.new("CMYK", (8, 8)).save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="grey or RGB image expected, got Pillow mode CMYK"):
        read_image_file(tmp_path / "a.jpg")


def test_an_animation_is_refused(tmp_path) -> None:
    first, second = Image.fromarray(GREY), Image.fromarray(255 - GREY)
    first.save(tmp_path / "a.png", save_all=True, append_images=[second])
    with pytest.raises(DataError, match="animation of 2 frames"):
        read_image_file(tmp_path / "a.png")


def test_the_orientation_tag_is_obeyed(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees: the viewer sees height and width swapped
    Image.fromarray(GREY).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image_file(tmp_path / "a.png")[0], np.rot90(GREY, -1) / np.float32(255))


def test_a_huge_file_is_not_read(tmp_path) -> None:
    with (tmp_path / "a.png").open("wb") as stream:
        stream.truncate(2**30 + 1)  # sparse: takes no disk
    with pytest.raises(DataError, match="larger than 1073741824 bytes"):
        read_image_file(tmp_path / "a.png")


def test_other_formats_are_refused_even_under_a_png_name(tmp_path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png", format="GIF")
    with pytest.raises(DataError, match="not a readable PNG or JPEG"):
        read_image_file(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("side", "sentence"), [(8_193, "8193 x 8193 is more than 67108864 pixels"), (60_000, "3600000000 pixels")]
)
def test_a_decompression_bomb_is_refused_by_its_header(tmp_path, side, sentence) -> None:
    (tmp_path / "a.png").write_bytes(raw_png(side, side, 8, 0, bytes(100)))
    with pytest.raises(DataError, match=sentence):
        read_image_file(tmp_path / "a.png")


@pytest.mark.parametrize("extension", ["png", "jpg"])
def test_damage_is_a_data_error_that_names_the_file(tmp_path, extension) -> None:
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    Image.fromarray(noise).save(stream, format="PNG" if extension == "png" else "JPEG")
    whole = stream.getvalue()
    path = tmp_path / f"broken.{extension}"
    for length in range(0, len(whole) - 20, max(1, len(whole) // 60)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=rf"broken\.{extension}: "):
            read_image_file(path)


def test_every_flipped_byte_of_png_pixels_is_noticed(tmp_path, write_png) -> None:
    whole = write_png(tmp_path / "a.png", GREY).read_bytes()
    start = whole.index(b"IDAT")
    for position in range(start, whole.index(b"IEND") - 4):
        (tmp_path / "b.png").write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(DataError, match=r"b\.png"):
            read_image_file(tmp_path / "b.png")
