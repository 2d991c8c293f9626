"""Pictures and the colour map of a change."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from medadv.report.images import change_uri, colour_bar_uri, diverging_palette, image_uri


def decode(uri, mode):
    head, _, body = uri.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))).convert(mode))


def lightness(colours):
    """CIE L* of sRGB, an independent measure of what the palette promises in OKLab."""
    encoded = np.asarray(colours) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return 116 * np.cbrt(luminance) - 16


def test_palette_is_neutral_in_the_middle_and_falls_evenly_to_both_sides():
    palette = diverging_palette()
    assert palette.shape == (255, 3)
    assert np.ptp(palette[127].astype(int)) <= 2
    light = lightness(palette)
    assert light.argmax() == 127
    assert (np.diff(light[:128]) > -0.3).all()
    assert (np.diff(light[127:]) < 0.3).all()
    assert light[127] - light[0] > 40
    np.testing.assert_allclose(light[:127], light[:127:-1], atol=8)


def test_palette_goes_from_blue_to_red():
    low, high = diverging_palette()[0].astype(int), diverging_palette()[-1].astype(int)
    assert low[2] > low[0] + 80
    assert high[0] > high[2] + 80


def test_grey_and_colour_images_keep_their_values_and_orientation():
    image = np.linspace(0, 1, 12, dtype=np.float32).reshape(1, 3, 4)
    np.testing.assert_array_equal(decode(image_uri(image), "L"), np.round(image[0] * 255))
    colour = np.zeros((3, 2, 2), np.float32)
    colour[0, 0, 1] = 1
    assert decode(image_uri(colour), "RGB")[0, 1].tolist() == [255, 0, 0]
    assert decode(image_uri(np.array([[[2.0, -1.0]]])), "L").tolist() == [[255, 0]]


@pytest.mark.parametrize(("value", "place"), [(0.0, 127), (0.5, 254), (-0.5, 0), (9.0, 254), (0.25, 190)])
def test_change_has_the_colour_of_its_value(value, place):
    pixel = decode(change_uri(np.full((1, 1, 1), value), 0.5), "RGB")[0, 0]
    assert abs(pixel.astype(int) - diverging_palette()[place].astype(int)).max() <= 2


def test_change_of_several_channels_is_the_largest_with_its_sign():
    change = np.array([0.1, -0.5, 0.2]).reshape(3, 1, 1)
    pixel = decode(change_uri(change, 0.5), "RGB")[0, 0]
    np.testing.assert_array_equal(pixel, diverging_palette()[0])


def test_colour_bar_is_the_palette():
    np.testing.assert_array_equal(decode(colour_bar_uri(), "RGB")[0], diverging_palette())
