from __future__ import annotations

import numpy as np

from medadv.data.conform import conform


def ramp(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return ((rows + 2 * columns) / (height + 2 * width)).astype(np.float32)[None]


def test_nothing_asked_nothing_changed() -> None:
    image = ramp(5, 7)
    assert conform(image, None, None) is image
    assert conform(image, (5, 7), 1) is image


def test_size_is_height_then_width() -> None:
    assert conform(ramp(8, 8), (4, 6), None).shape == (1, 4, 6)


def test_halving_averages_instead_of_skipping() -> None:
    checkerboard = (np.indices((16, 16)).sum(0) % 2).astype(np.float32)[None]
    small = conform(checkerboard, (8, 8), None)
    np.testing.assert_allclose(small, 0.5, atol=0.02)  # without antialiasing: 0 or 1 in places


def test_resizing_keeps_float_precision_and_a_ramp() -> None:
    image = ramp(32, 32)
    small = conform(image, (16, 16), None)[0, 4:-4, 4:-4]
    expected = image[0].reshape(16, 2, 16, 2).mean((1, 3))[4:-4, 4:-4]
    np.testing.assert_allclose(small, expected, atol=1e-6)  # 8-bit steps would be 4e-3


def test_resizing_stays_in_range() -> None:
    image = np.ones((1, 37, 41), np.float32)
    resized = conform(image, (96, 96), None)
    assert resized.max() <= 1.0
    np.testing.assert_allclose(resized, 1.0, atol=1e-6)


def test_colour_to_grey_is_bt601_luma() -> None:
    colour = np.zeros((3, 1, 3), np.float32)
    colour[0, 0, 0] = colour[1, 0, 1] = colour[2, 0, 2] = 1.0
    np.testing.assert_allclose(conform(colour, None, 1)[0, 0], [0.299, 0.587, 0.114], atol=1e-7)


def test_equal_channels_become_exactly_their_value() -> None:
    grey = np.arange(256, dtype=np.float32)[None, None] / np.float32(255)
    np.testing.assert_array_equal(conform(conform(grey, None, 3), None, 1), grey)


def test_grey_to_colour_repeats() -> None:
    colour = conform(ramp(4, 4), None, 3)
    assert colour.shape == (3, 4, 4)
    assert (colour == ramp(4, 4)).all()
