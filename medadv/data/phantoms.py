"""Chest-film-like phantoms: two classes of images that need no data."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from medadv.data.image_set import ImageSet

Array = NDArray[np.float64]

CLASS_NAMES = ("clear", "opacity")

# Attenuation along one ray, in units where the thickest soft tissue is 1. All values ours, set by eye.
LUNG_AIR = 0.62  # what the air of a lung takes away
HEART = 0.16
MEDIASTINUM = 0.13
SPINE = 0.12
RIB = 0.12
CLAVICLE = 0.10
VESSELS = 0.07  # standard deviation of the lung texture at the hilum
OPACITY = (0.16, 0.34)  # range of the peak of one blob
# Photons per pixel behind no tissue, and attenuation in nepers at thickness 1: they set the quantum noise.
PHOTONS = 3000.0
NEPERS = 2.6


def chest_phantoms(count: int, size: int = 64, seed: int = 0) -> ImageSet:
    """Draw chest-film-like phantoms; every second one has an opacity in a lung.

    The generator is ours. An image is the attenuation along parallel rays through soft tissue, minus the air
    of two lungs, plus heart, mediastinum, spine, ribs and clavicles, every measure of the anatomy drawn anew;
    then quantum noise, and an exposure (gain and offset) drawn per image, so that the mean grey value does
    not give the class away. Opacities are one to three soft blobs inside one lung. Image i depends on seed
    and i alone; even i are "clear", odd i "opacity".

    Args:
        count: number of images, at least 1.
        size: height and width in pixels, at least 16.
        seed: 0 or above.

    Returns:
        count images [count, 1, size, size] in [0, 1], bright where tissue is dense.

    Raises:
        ValueError: an argument out of range.

    >>> films = chest_phantoms(4)
    >>> films.images.shape, films.labels.tolist(), films.class_names
    ((4, 1, 64, 64), [0, 1, 0, 1], ('clear', 'opacity'))
    """
    for name, value, least in (("count", count, 1), ("size", size, 16), ("seed", seed, 0)):
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{name} must be a whole number, {least} or above, got {value!r}")
    labels = np.arange(count, dtype=np.int64) % 2
    films = [_film(np.random.default_rng([seed, index]), size, bool(labels[index])) for index in range(count)]
    names = tuple(f"phantom-{seed}-{index}" for index in range(count))
    return ImageSet(np.stack(films)[:, None], labels, names, CLASS_NAMES)


def _film(draw: Generator, size: int, opacity: bool) -> NDArray[np.float32]:
    # x runs from the left edge of the film (-1) to the right, y from the top (-1) to the bottom.
    axis = (np.arange(size) + 0.5) * (2.0 / size) - 1.0
    shift_x, shift_y = draw.normal(0.0, 0.03, 2)
    scale_x, scale_y = draw.uniform(0.93, 1.08, 2)
    tilt = draw.normal(0.0, 0.03)
    x = (axis[None, :] - shift_x) / scale_x + tilt * axis[:, None]
    y = (axis[:, None] - shift_y) / scale_y - tilt * axis[None, :]

    lungs = _lungs(draw, x, y)
    heart = _heart(draw, x, y)
    # The heart lies in front of some lung: behind it the air is thinner.
    aerated = (lungs[0] + lungs[1]) * (1.0 - 0.8 * heart)
    tissue = _body(draw, x, y)
    tissue -= LUNG_AIR * aerated
    tissue += np.maximum(HEART * heart, MEDIASTINUM * _mediastinum(draw, x, y)) + _bones(draw, x, y)
    tissue += VESSELS * aerated * _texture(draw, size) * np.exp(-(((np.abs(x) - 0.2) / 0.4) ** 2 + (y / 0.7) ** 2))
    if opacity:
        tissue += _opacities(draw, x, y, lungs[draw.integers(2)], size)
    return _expose(draw, tissue)


def _step(distance: Array, softness: float) -> Array:
    """0 to 1 across an edge at distance 0 (positive inside); softness in film units."""
    return np.asarray(0.5 + 0.5 * np.tanh(distance / (2.0 * softness)))


def _body(draw: Generator, x: Array, y: Array) -> Array:
    """Soft tissue: trunk thinner towards its sides, shoulders wider at the top, air outside."""
    half_width = 0.92 + 0.10 * draw.uniform() + 0.35 * _step(-0.72 - y, 0.06)
    across = np.clip(1.0 - (x / half_width) ** 2, 0.0, None)
    neck = _step(0.34 + 3.2 * (y + 1.02) - np.abs(x), 0.05)
    return np.asarray((0.35 * _step(across, 0.02) + 0.55 * np.sqrt(across)) * neck)


def _lungs(draw: Generator, x: Array, y: Array) -> list[Array]:
    """Air of the right lung (left on the film) and the left lung: 0 to 1, deepest in the middle."""
    apex = draw.uniform(-0.84, -0.76)
    width = draw.uniform(0.74, 0.80)
    base = draw.uniform(0.48, 0.64)
    hila = draw.uniform(0.13, 0.18)
    lungs = []
    for side, dome in ((-1.0, 0.0), (1.0, draw.uniform(0.02, 0.10))):  # the left diaphragm stands lower
        out = side * x
        # The chest wall narrows towards the apex; the lung's inner border follows the mediastinum.
        wall = width * np.sqrt(np.clip(1.0 - ((y - 0.45) / (apex - 0.45)) ** 2, 0.0, 1.0)) * (y < 0.45)
        wall = wall + width * (y >= 0.45)
        floor = base + dome + 0.28 * np.clip((out - 0.42) / 0.4, -1.2, 1.2) ** 2
        inside = np.minimum(np.minimum(wall - out, out - hila), np.minimum(floor - y, y - apex))
        lungs.append(_step(inside, 0.018) * (0.62 + 0.38 * np.tanh(np.clip(inside, 0.0, None) / 0.15)))
    return lungs


def _heart(draw: Generator, x: Array, y: Array) -> Array:
    """An ellipse, its long axis tilted, two thirds of it right of the middle of the film."""
    angle = draw.uniform(0.5, 0.8)
    along = draw.uniform(0.34, 0.44)
    across = draw.uniform(0.25, 0.33)
    u, v = x - draw.uniform(0.08, 0.16), y - draw.uniform(0.22, 0.34)
    long = u * np.cos(angle) + v * np.sin(angle)
    short = v * np.cos(angle) - u * np.sin(angle)
    radius = np.sqrt((long / along) ** 2 + (short / across) ** 2)
    return _step(1.0 - radius, 0.03)


def _mediastinum(draw: Generator, x: Array, y: Array) -> Array:
    """A central band, with the aortic knob as a bump on the right side of the film."""
    half_width = draw.uniform(0.13, 0.18)
    knob = draw.uniform(0.04, 0.09) * np.exp(-(((y - draw.uniform(-0.36, -0.26)) / 0.10) ** 2))
    return _step(half_width + 0.04 * y + knob * (x > 0) - np.abs(x), 0.02)


def _bones(draw: Generator, x: Array, y: Array) -> Array:
    out = np.abs(x)
    chest = _step(0.84 - 0.25 * np.clip(-0.2 - y, 0.0, None) - out, 0.02)
    spacing = draw.uniform(0.165, 0.205)
    phase = draw.uniform()
    # Posterior ribs leave the spine slightly upwards and turn down; anterior ribs run steeply the other way.
    posterior = y - 0.16 * out + 0.50 * (out - 0.35) ** 2 - 0.75 * np.clip(out - 0.62, 0.0, None)
    anterior = y + 0.55 * out + 0.2 * out**2
    rib_space = _step(0.62 - y, 0.06) * _step(y + 0.86, 0.03) * _step(out - 0.09, 0.02)
    ribs = _stripes(posterior / spacing + phase, 1.6) * _step(1.0 - out / 0.92, 0.03)
    ribs += 0.5 * _stripes(anterior / (1.3 * spacing) + phase, 1.8) * _step(out - 0.30, 0.05)
    vertebrae = 0.75 + 0.25 * np.cos(2.0 * np.pi * (y / draw.uniform(0.17, 0.21)))
    spine = _step(draw.uniform(0.085, 0.11) - out, 0.012) * vertebrae
    clavicle_y = draw.uniform(-0.70, -0.62) - draw.uniform(0.10, 0.25) * (out - 0.1)
    clavicle = np.exp(-(((y - clavicle_y) / 0.035) ** 2)) * _step(out - 0.10, 0.02) * _step(0.75 - out, 0.03)
    return np.asarray(RIB * ribs * rib_space * chest + SPINE * spine + CLAVICLE * clavicle)


def _stripes(turns: Array, sharpness: float) -> Array:
    """Periodic ridges between 0 and 1, one per whole turn; larger sharpness, thinner ridges."""
    return np.asarray(np.exp(sharpness * (np.cos(2.0 * np.pi * turns) - 1.0)))


def _texture(draw: Generator, size: int) -> Array:
    """A smooth random field of about unit variance: white noise on a coarse grid, interpolated by cosines."""
    texture = np.zeros((size, size))
    for cells in (9, 17):
        position = np.linspace(0.0, cells - 1.0, size)[:, None] - np.arange(cells)
        weights = np.where(np.abs(position) < 1.0, 0.5 + 0.5 * np.cos(np.pi * position), 0.0)
        texture += weights @ draw.normal(0.0, 1.0, (cells, cells)) @ weights.T
    return texture


def _opacities(draw: Generator, x: Array, y: Array, lung: Array, size: int) -> Array:
    """One to three soft blobs centred well inside a lung, with uneven texture, cut off at its border."""
    rows, columns = np.nonzero(lung > 0.75)
    total = np.zeros((size, size))
    for _ in range(draw.integers(1, 4)):
        pick = draw.integers(len(rows))
        across, along = draw.uniform(0.10, 0.20, 2)
        u = x - x[rows[pick], columns[pick]]
        v = y - y[rows[pick], columns[pick]]
        total += draw.uniform(*OPACITY) * np.exp(-0.5 * ((u / across) ** 2 + (v / along) ** 2))
    return np.asarray(total * np.clip(1.0 + 0.3 * _texture(draw, size), 0.0, None) * np.clip(lung / 0.6, 0.0, 1.0))


def _expose(draw: Generator, tissue: Array) -> NDArray[np.float32]:
    """Quantum noise in the logarithm of the counts, then gain and offset of the display."""
    noise = np.exp(0.5 * NEPERS * np.clip(tissue, 0.0, 1.3)) / (NEPERS * np.sqrt(PHOTONS))
    signal = tissue + noise * draw.normal(0.0, 1.0, tissue.shape)
    film = draw.uniform(0.02, 0.10) + draw.uniform(0.62, 0.80) * signal
    return np.asarray(np.clip(film, 0.0, 1.0), np.float32)
