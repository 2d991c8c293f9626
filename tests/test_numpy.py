"""medadv.numpy against medadv.ops, to the bit, and what an array has to be."""

import concurrent.futures
import inspect
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import scipy.ndimage
import torch
from support.operators import bits_for_threads

import medadv.numpy as mnp
from medadv import ops
from medadv._core import operators

DTYPES = ["float16", "float32", "float64"]
INTERPOLATIONS = ["nearest", "linear", "cubic"]
PADDINGS = ["zeros", "border", "reflection"]


def sample(*shape, dtype="float32", seed=0, scale=1.0):
    return (np.random.default_rng(seed).uniform(-1, 1, shape) * scale).astype(dtype)


def calls(dtype):
    """(name, arguments) for every function, in 2D and 3D, with sizes that no block divides."""
    plane, volume = sample(2, 3, 37, 53, dtype=dtype), sample(2, 1, 9, 21, 35, dtype=dtype)
    coarse, coarse3 = sample(2, 1, 4, 6, dtype=dtype), sample(2, 1, 4, 5, 4, dtype=dtype)
    flow, flow3 = sample(2, 2, 37, 53, dtype=dtype, scale=9), sample(2, 3, 9, 21, 35, dtype=dtype, scale=3)
    moves, moves3 = sample(2, 2, 5, 4, dtype=dtype, scale=9), sample(2, 3, 4, 4, 5, dtype=dtype, scale=3)
    yield from [("bias_field", (plane, coarse)), ("bias_field", (volume, coarse3))]
    yield from [("bias_field", (plane, sample(2, 3, 4, 6, dtype=dtype)))]
    yield from [("spline_field", (moves, (37, 53))), ("spline_field", (moves3, (9, 21, 35)))]
    for interpolation in INTERPOLATIONS:
        for padding in PADDINGS:
            words = interpolation, padding
            yield from [("warp", (plane, flow, *words)), ("warp", (volume, flow3, *words))]
            yield from [("spline_warp", (plane, moves, *words)), ("spline_warp", (volume, moves3, *words))]
    for padding in ["reflect", "border", "zeros"]:
        yield from [("gaussian_blur", (plane, 1.3, padding)), ("gaussian_blur", (volume, (0, 0.7, 2), padding, 2.5))]
    for energy in ["bending_energy", "membrane_energy"]:
        yield from [(energy, (flow,)), (energy, (flow3, None, (1, 2, 0.5)))]
        yield from [(energy, (moves, (37, 53))), (energy, (moves3, (9, 21, 35), (1, 2, 0.5)))]
    yield from [("total_variation", (flow, 0.5)), ("total_variation", (flow3, (1, 2, 0.5)))]
    yield from [("jacobian_determinant", (flow,)), ("jacobian_determinant", (flow3, (1, 2, 0.5)))]
    yield from [("folding_penalty", (flow, 2, 0.1)), ("folding_penalty", (flow3,))]


def by_torch(name, args):
    return getattr(ops, name)(*[torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in args]).numpy()


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_has_the_bits_of_the_operators_over_tensors(dtype):
    seen = set()
    for name, args in calls(dtype):
        got = getattr(mnp, name)(*args)
        assert same_bits(got, by_torch(name, args)), (name, args[1:])
        assert np.isfinite(got).all()
        assert np.ptp(got) > 0, name
        seen.add(name)
    assert seen == set(mnp.__all__) - {"lattice_shape"}


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "int32", "int64"])
@pytest.mark.parametrize("axes", [2, 3])
def test_labels_are_copied(dtype, axes):
    size = (37, 53) if axes == 2 else (9, 21, 35)
    labels = np.random.default_rng(0).integers(0, 100, (2, 1, *size)).astype(dtype)
    flow, moves = sample(2, axes, *size, scale=4), sample(2, axes, *[4] * axes, scale=4)
    for name, motion in (("warp", flow), ("spline_warp", moves)):
        got = getattr(mnp, name)(labels, motion, "nearest", "border")
        assert same_bits(got, by_torch(name, (labels, motion, "nearest", "border")))
        assert (got != labels).any()


def test_same_bits_for_any_number_of_threads():
    image, lattice = sample(2, 3, 301, 517), sample(2, 3, 7, 9, scale=0.3)
    flow, moves = sample(2, 2, 301, 517, scale=9), sample(2, 2, 7, 9, scale=9)

    def run(threads):
        yield mnp.bias_field(image, lattice, threads=threads)
        yield mnp.warp(image, flow, threads=threads)
        yield mnp.spline_warp(image, moves, "cubic", threads=threads)
        yield mnp.gaussian_blur(image, 2.0, threads=threads)
        yield mnp.bending_energy(flow, threads=threads)
        yield mnp.folding_penalty(flow, threads=threads)

    expected = list(run(1))
    for threads in (2, 3, 16, None):
        for got, one in zip(run(threads), expected, strict=True):
            assert same_bits(got, one)
    (torch_bits,) = bits_for_threads(lambda: by_torch("spline_warp", (image, moves, "cubic")), (2,))
    assert same_bits(expected[2], torch_bits)


@pytest.mark.parametrize("name", ["bias_field", "spline_field", "warp", "spline_warp", "gaussian_blur"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_out_takes_the_result(name, dtype):
    args = next(args for called, args in calls(dtype) if called == name)
    expected = getattr(mnp, name)(*args)
    out = np.full_like(expected, np.nan)
    assert getattr(mnp, name)(*args, out=out) is out
    assert same_bits(out, expected)


def test_out_takes_determinants():
    flow = sample(1, 2, 8, 9)
    out = np.empty((1, 7, 8), np.float32)
    assert mnp.jacobian_determinant(flow, out=out) is out
    assert same_bits(out, mnp.jacobian_determinant(flow))


def test_reads_what_cannot_be_written(tmp_path):
    image = sample(1, 1, 30, 40)
    image.tofile(tmp_path / "image")
    mapped = np.memmap(tmp_path / "image", np.float32, "r", shape=image.shape)
    assert not mapped.flags.writeable
    assert same_bits(mnp.gaussian_blur(mapped, 1.0), mnp.gaussian_blur(image, 1.0))


# Resident memory, in a process of its own: NumPy's memory is touched beforehand, so what comes on top is ours.
PEAK = """
import resource
import numpy as np
import medadv.numpy as mnp

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

def fill(*shape):
    return np.full(shape, 0.25, np.float32)

image, lattice, moves = fill(4, 4, 1024, 1024), fill(4, 1, 10, 10), fill(4, 2, 10, 10)
flow, out = fill(4, 2, 1024, 1024), fill(4, 4, 1024, 1024)
small = [fill(1, 1, 256, 256), fill(1, 1, 256, 256)]
mnp.gaussian_blur(small[0], 1.0, out=small[1], threads=2)
before = peak()
mnp.bias_field(image, lattice, out=out, threads=2)
mnp.warp(image, flow, out=out, threads=2)
mnp.spline_warp(image, moves, "cubic", out=out, threads=2)
mnp.gaussian_blur(image, 1.0, out=out, threads=2)
mnp.bending_energy(flow, threads=2)
mnp.folding_penalty(flow, threads=2)
print((peak() - before) / image.nbytes)
"""


def test_nothing_dense_is_copied():
    """All of them together take less than a tenth of one image (64 MB) beyond inputs and outputs."""
    assert float(in_a_process_of_its_own(PEAK)) < 0.1


WITHOUT_TORCH = """
import multiprocessing, os, sys
import numpy as np
import medadv.numpy as mnp

flow = np.random.default_rng(0).uniform(-1, 1, (1, 2, 300, 400)).astype(np.float32)
for function in (mnp.bending_energy, mnp.membrane_energy, mnp.total_variation, mnp.folding_penalty):
    function(flow)
mnp.jacobian_determinant(flow)
moves = mnp.warp(flow, flow), mnp.spline_warp(flow, flow[:, :, :4, :4].copy())
field = mnp.spline_field(flow[:, :, :4, :5].copy(), (300, 400))
mnp.bending_energy(flow[:, :, :4, :5].copy(), (300, 400))
assert mnp.lattice_shape((300, 400), 32) == (12, 15)
blurred = mnp.gaussian_blur(flow, 2.0, threads=2)
if os.fork() == 0:  # no thread was left behind that the child would wait for
    os._exit(0 if np.array_equal(mnp.gaussian_blur(flow, 2.0, threads=2), blurred) else 1)
assert os.wait()[1] == 0
print("torch" in sys.modules)
"""


def test_needs_no_torch_and_survives_a_fork():
    assert in_a_process_of_its_own(WITHOUT_TORCH) == "False"


def in_a_process_of_its_own(script):
    return subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=120
    ).stdout.strip()


def test_other_threads_run_meanwhile():
    image, started, done = sample(1, 1, 80, 300, 300), threading.Event(), threading.Event()

    def blur():
        started.set()
        mnp.gaussian_blur(image, 8.0, threads=1)
        done.set()

    worker = threading.Thread(target=blur)
    worker.start()
    started.wait()
    turns = 0
    while not done.is_set():
        time.sleep(1e-4)
        turns += 1
    worker.join()
    assert turns > 20


def test_calls_from_many_threads_do_not_meet():
    images = [sample(1, 2, 201, 203, seed=seed) for seed in range(8)]
    expected = [mnp.gaussian_blur(image, 1.5) for image in images]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for got, one in zip(pool.map(lambda image: mnp.gaussian_blur(image, 1.5), images), expected, strict=True):
            assert same_bits(got, one)


@pytest.mark.parametrize(("padding", "mode"), [("zeros", "constant"), ("border", "nearest"), ("reflection", "mirror")])
@pytest.mark.parametrize("size", [(31, 40), (9, 12, 15)], ids=str)
def test_warp_is_scipys_map_coordinates(size, padding, mode):
    volume, flow = sample(*size, dtype="float64"), sample(len(size), *size, dtype="float64", scale=7, seed=1)
    got = mnp.warp(volume[None, None], flow[None], "linear", padding)[0, 0]
    # Zeros around the image are voxels here, and fade in; SciPy's constant begins at once.
    if mode == "constant":
        volume, flow = np.pad(volume, 20), np.pad(flow, [(0, 0), *[(20, 20)] * len(size)])
    at = np.indices(volume.shape) + flow
    expected = scipy.ndimage.map_coordinates(volume, at, order=1, mode=mode)
    if mode == "constant":
        expected = expected[(slice(20, -20),) * len(size)]
    np.testing.assert_allclose(got, expected, atol=1e-13)


@pytest.mark.parametrize(("padding", "mode"), [("reflect", "mirror"), ("border", "nearest"), ("zeros", "constant")])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_blur_is_scipys_gaussian_filter(padding, mode, dtype):
    volume = sample(13, 17, 21, dtype=dtype)
    expected = scipy.ndimage.gaussian_filter(volume.astype(np.float64), (1.0, 2.0, 0.5), mode=mode)
    got = mnp.gaussian_blur(volume[None, None], (1.0, 2.0, 0.5), padding)[0, 0]
    np.testing.assert_allclose(got, expected, atol=1e-6 if dtype == "float32" else 1e-14)


@pytest.mark.parametrize("shape", [(0, 1, 5, 6), (2, 0, 5, 6), (2, 1, 0, 6), (1, 1, 0, 4, 4)], ids=str)
def test_empty_images(shape):
    assert mnp.gaussian_blur(np.zeros(shape), 1.0).shape == shape
    out = np.zeros(shape)
    assert mnp.gaussian_blur(np.zeros(shape), 1.0, out=out) is out


@pytest.mark.parametrize("name", sorted(set(mnp.__all__) - {"lattice_shape"}))
def test_signatures_are_those_of_the_operators_over_tensors(name):
    ours = inspect.signature(getattr(mnp, name)).parameters
    theirs = inspect.signature(getattr(ops, name)).parameters
    assert [(p.name, p.default) for p in ours.values() if p.kind is not p.KEYWORD_ONLY] == [
        (p.name, p.default) for p in theirs.values()
    ]
    assert {p.name for p in ours.values() if p.kind is p.KEYWORD_ONLY} <= {"out", "threads"}


IMAGE, LATTICE, FLOW = sample(2, 3, 8, 9), sample(2, 1, 4, 5), sample(2, 2, 8, 9)


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        (lambda: mnp.bias_field(IMAGE[:, :, ::2], LATTICE), "image must be C-contiguous and aligned"),
        (lambda: mnp.bias_field(np.asfortranarray(IMAGE), LATTICE), "image must be C-contiguous and aligned"),
        (lambda: mnp.bias_field(unaligned(IMAGE), LATTICE), "image must be C-contiguous and aligned"),
        (lambda: mnp.bias_field(IMAGE, LATTICE[..., ::-1]), "lattice must be C-contiguous and aligned"),
        (lambda: mnp.bias_field(IMAGE.astype(">f4"), LATTICE), "image must be in native byte order, got >f4"),
        (lambda: mnp.bias_field(IMAGE.astype("f8"), LATTICE), "lattice must have the dtype of image"),
        (lambda: mnp.bias_field(IMAGE.astype("u2"), LATTICE), "image must be float16, float32 or float64 .*got uint16"),
        (lambda: mnp.bias_field(IMAGE.astype("c8"), LATTICE), "image must be float16, .*got complex64"),
        (lambda: mnp.bias_field(IMAGE.astype(object), LATTICE), "image must be float16, .*got object"),
        (lambda: mnp.bias_field(IMAGE.astype("i4"), LATTICE), "image must be float16, bfloat16, float32 or float64"),
        (lambda: mnp.bias_field(IMAGE[0], LATTICE), "image must be \\[N, C, H, W\\] or .*got \\[3, 8, 9\\]"),
        (lambda: mnp.bias_field(IMAGE, LATTICE[:1]), "lattice must have one entry per image, 2, got 1"),
        (lambda: mnp.bias_field(IMAGE, LATTICE, out=IMAGE), "out must not share memory with an argument"),
        (lambda: mnp.bias_field(IMAGE, LATTICE, out=np.empty((2, 3, 8, 9))), "out must be float32, got float64"),
        (lambda: mnp.bias_field(IMAGE, LATTICE, out=np.empty(4, "f4")), "out must be \\[2, 3, 8, 9\\], got \\[4\\]"),
        (lambda: mnp.bias_field(IMAGE, LATTICE, out=locked(IMAGE)), "out must be writeable"),
        (lambda: mnp.bias_field(IMAGE, LATTICE, threads=0), "threads must be at least 1, got 0"),
        (lambda: mnp.warp(IMAGE, FLOW, "bilinear"), "interpolation must be one of nearest, linear, cubic"),
        (lambda: mnp.warp(IMAGE, FLOW, padding="mirror"), "padding must be one of zeros, border, reflection"),
        (lambda: mnp.warp(IMAGE.astype("u1"), FLOW), "an image of integers must be sampled with .*nearest"),
        (lambda: mnp.warp(IMAGE, sample(2, 3, 8, 9)), "displacement must be \\[2, 2, 8, 9\\]"),
        (lambda: mnp.gaussian_blur(IMAGE, -1.0), "sigma must not be negative"),
        (lambda: mnp.gaussian_blur(IMAGE, (1.0, 1.0, 1.0)), "sigma must have one entry per axis, 2, got 3"),
        (lambda: mnp.gaussian_blur(IMAGE, 1.0, "mirror"), "padding must be 'reflect', 'border' or 'zeros'"),
        (lambda: mnp.bending_energy(LATTICE, (8,)), "size and voxel_size must have one entry per axis"),
        (lambda: mnp.total_variation(FLOW, 0.0), "voxel_size must be positive and finite"),
        (lambda: mnp.folding_penalty(IMAGE), "displacement must be \\[N, 2, H, W\\]"),
    ],
)
def test_bad_arguments_get_one_sentence(run, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        run()
    assert "\n" not in str(error.value)


def unaligned(array):
    spare = np.empty(array.nbytes + 1, np.uint8)[1:].view()
    spare[:] = np.frombuffer(array.tobytes(), np.uint8)
    return np.frombuffer(spare, array.dtype).reshape(array.shape)


def locked(array):
    copy = array.copy()
    copy.flags.writeable = False
    return copy


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        (lambda: mnp.bias_field(IMAGE.tolist(), LATTICE), "image must be a numpy.ndarray, got list"),
        (lambda: mnp.bias_field(torch.from_numpy(IMAGE), LATTICE), "image must be a numpy.ndarray, got Tensor"),
        (lambda: mnp.bias_field(IMAGE, None), "lattice must be a numpy.ndarray, got NoneType"),
        (lambda: mnp.bias_field(IMAGE, LATTICE, out=[]), "out must be a numpy.ndarray, got list"),
        (lambda: mnp.gaussian_blur([[1.0]], 1.0), "image must be a numpy.ndarray, got list"),
        (lambda: mnp.bending_energy([[1.0]], (2, 2)), "lattice must be a numpy.ndarray, got list"),
        (lambda: mnp.bias_field(IMAGE, LATTICE, threads=1.5), "threads must be a whole number, got 1.5"),
    ],
)
def test_what_is_no_array_is_a_type_error(run, sentence):
    with pytest.raises(TypeError, match=sentence) as error:
        run()
    assert "\n" not in str(error.value)


def test_a_refused_call_leaves_out_as_it_was():
    out = np.full_like(IMAGE, 7.0)
    with pytest.raises(ValueError, match="lattice"):
        mnp.bias_field(IMAGE, LATTICE[:1], out=out)
    assert (out == 7.0).all()


def test_what_the_operators_do_not_write_is_refused():
    """An energy is a few numbers: there is nothing to write them into."""
    assert "out" not in inspect.signature(mnp.bending_energy).parameters
    with pytest.raises(ValueError, match="bending_energy: out"):
        operators.bending_energy(LATTICE, [1.0, 1.0], out=np.empty((2, 1)))
