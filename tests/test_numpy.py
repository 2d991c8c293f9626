"""medadv.numpy against medadv.ops, to the bit, and what an array has to be."""

import concurrent.futures
import inspect
import itertools
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import scipy.ndimage
import torch
from support.guarded import CAN_GUARD, guarded, survives
from support.operators import bits_for_threads

import medadv.numpy as mnp
from medadv import ops
from medadv._core import operators

DTYPES = ["float16", "float32", "float64"]
INTERPOLATIONS = ["nearest", "linear", "cubic"]
PADDINGS = ["zeros", "border", "reflection"]


def sample(*shape, dtype="float32", seed=0, scale=1.0):
    return (np.random.default_rng(seed).uniform(-1, 1, shape) * scale).astype(dtype)


FUNCTIONS = sorted(set(mnp.__all__) - {"lattice_shape", "polynomial_terms"})  # of arrays


class With(dict):
    """Arguments by their names, last in a call of `calls`."""


def apply(function, args, **more):
    keywords = args[-1] if isinstance(args[-1], With) else {}
    return function(*args[: len(args) - bool(keywords)], **keywords, **more)


def calls(dtype):
    """(name, arguments) for every function, in 2D and 3D, with sizes that no block divides."""
    plane, volume = sample(2, 3, 37, 53, dtype=dtype), sample(2, 1, 9, 21, 35, dtype=dtype)
    coarse, coarse3 = sample(2, 1, 4, 6, dtype=dtype), sample(2, 1, 4, 5, 4, dtype=dtype)
    flow, flow3 = sample(2, 2, 37, 53, dtype=dtype, scale=9), sample(2, 3, 9, 21, 35, dtype=dtype, scale=3)
    moves, moves3 = sample(2, 2, 5, 4, dtype=dtype, scale=9), sample(2, 3, 4, 4, 5, dtype=dtype, scale=3)
    yield from [("bias_field", (plane, coarse)), ("bias_field", (volume, coarse3))]
    yield from [("bias_field", (plane, sample(2, 3, 4, 6, dtype=dtype)))]
    yield from [("spline_field", (moves, (37, 53))), ("spline_field", (moves3, (9, 21, 35)))]
    yield from [("spline_field", (moves, (37, 53), order, (0.5, 2))) for order in [(1, 0), (1, 1), (0, 2)]]
    yield from [("spline_field", (moves3, (9, 21, 35), (1, 0, 1), 0.5))]
    yield from [("compose", (flow, flow[::-1].copy())), ("compose", (flow3, flow3[::-1].copy()))]
    yield from [("exponentiate", (flow, steps)) for steps in (0, 1, 4)] + [("exponentiate", (flow3,))]
    terms, terms3 = (sample(2, 1, n, dtype=dtype, scale=0.3) for n in (10, 20))
    polynomials = [(plane, terms, 4), (plane, sample(2, 3, 10, dtype=dtype), 4), (volume, terms3, 3)]
    for image, coefficients, points in polynomials:
        shift = sample(2, image.ndim - 2, *range(points, points + image.ndim - 2), dtype=dtype, scale=0.3)
        for basis in ["legendre", "monomial"]:
            yield "polynomial_bias_field", (image, coefficients, With(degree=3, basis=basis))
            for motion in ["thin_plate", "flow"]:
                yield "polynomial_bias_field", (image, coefficients, shift, With(degree=3, basis=basis, warp=motion))
    for stages in itertools.product([False, True], repeat=4):
        for image, motion, gain in [(plane, moves, coarse), (volume, moves3, coarse3)]:
            noise = sample(2, 1, *image.shape[2:], dtype=dtype, seed=1)
            given = (s if use else None for s, use in zip((motion, gain, noise, (-0.7, 0.9)), stages, strict=True))
            yield "transform_chain", (image, *given, With(origin=-0.5, interpolation="cubic", padding="border"))
    yield from [("transform_chain", (plane, None, coarse)), ("transform_chain", (plane, moves, None, plane))]
    for interpolation in INTERPOLATIONS:
        for padding in PADDINGS:
            words = interpolation, padding
            yield from [("warp", (plane, flow, *words)), ("warp", (volume, flow3, *words))]
            yield from [("spline_warp", (plane, moves, *words)), ("spline_warp", (volume, moves3, *words))]
    for padding in ["reflect", "border", "zeros"]:
        yield from [("gaussian_blur", (plane, 1.3, padding)), ("gaussian_blur", (volume, (0, 0.7, 2), padding, 2.5))]
    for norm in ["linf", "l1", "l2"]:
        yield from [("row_lengths", (volume, norm)), ("row_lengths", (plane, norm, plane[:, :, ::-1].copy()))]
        yield from [("unit_rows", (values, norm)) for values in (plane, volume)]
        if norm != "l1" and dtype != "float16":
            yield "project_noise", (volume, volume[::-1].copy(), (-1.0, 1.0), 0.3, norm)
    if dtype == "float16":  # has no budgets
        plane, volume = plane.astype("float32"), volume.astype("float32")
    yield from [
        ("add_noise", (plane, plane[::-1].copy(), (-0.5, 1))),
        ("add_noise", (volume, volume, (-1, 1), -volume)),
        ("sign_step", (volume, volume[::-1].copy(), -volume, 0.1, (-1.0, 1.0), 0.3)),
        ("unit_step", (volume, volume[::-1].copy(), -volume, 0.1, (-1.0, 1.0), 0.3)),
        ("unit_step", (volume, volume, -volume, 0.1, (-1.0, 1.0), np.linspace(0, 0.3, len(volume)), "linf")),
    ]
    if dtype == "float16":
        yield "project_noise", (volume, volume[::-1].copy(), (-1.0, 1.0), 0.3)
    for energy in ["bending_energy", "membrane_energy"]:
        yield from [(energy, (flow,)), (energy, (flow3, None, (1, 2, 0.5)))]
        yield from [(energy, (moves, (37, 53))), (energy, (moves3, (9, 21, 35), (1, 2, 0.5)))]
    yield from [("total_variation", (flow, 0.5)), ("total_variation", (flow3, (1, 2, 0.5)))]
    yield from [("jacobian_determinant", (flow,)), ("jacobian_determinant", (flow3, None, (1, 2, 0.5)))]
    yield from [("folding_penalty", (flow, None, 2, 0.1)), ("folding_penalty", (flow3,))]
    for name in ["jacobian_determinant", "folding_penalty"]:
        yield from [(name, (9 * moves, (37, 53))), (name, (9 * moves3, (9, 21, 35), (1, 2, 0.5)))]


def by_torch(name, args):
    found = apply(getattr(ops, name), [torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in args])
    return [out.numpy() for out in outputs(found)]


def outputs(found):
    """Of a function; most have one."""
    return list(found) if isinstance(found, tuple) else [found]


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_has_the_bits_of_the_operators_over_tensors(dtype):
    seen = set()
    for name, args in calls(dtype):
        got = outputs(apply(getattr(mnp, name), args))
        assert all(map(same_bits, got, by_torch(name, args))), (name, args[1:])
        assert all(np.isfinite(out).all() for out in got)
        assert all(np.ptp(out) > 0 for out in got), name
        seen.add(name)
    assert seen == set(FUNCTIONS)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "int32", "int64"])
@pytest.mark.parametrize("axes", [2, 3])
def test_labels_are_copied(dtype, axes):
    size = (37, 53) if axes == 2 else (9, 21, 35)
    labels = np.random.default_rng(0).integers(0, 100, (2, 1, *size)).astype(dtype)
    flow, moves = sample(2, axes, *size, scale=4), sample(2, axes, *[4] * axes, scale=4)
    for name, motion in (("warp", flow), ("spline_warp", moves)):
        got = getattr(mnp, name)(labels, motion, "nearest", "border")
        assert same_bits(got, *by_torch(name, (labels, motion, "nearest", "border")))
        assert (got != labels).any()


def test_same_bits_for_any_number_of_threads():
    image, lattice = sample(2, 3, 301, 517), sample(2, 3, 7, 9, scale=0.3)
    flow, moves = sample(2, 2, 301, 517, scale=9), sample(2, 2, 7, 9, scale=9)
    polynomial = sample(2, 1, 10, scale=0.3), sample(2, 2, 5, 4, scale=0.3)

    def run(threads):
        yield mnp.bias_field(image, lattice, threads=threads)
        yield mnp.warp(image, flow, threads=threads)
        yield mnp.spline_warp(image, moves, "cubic", threads=threads)
        yield mnp.gaussian_blur(image, 2.0, threads=threads)
        yield mnp.bending_energy(flow, threads=threads)
        yield mnp.folding_penalty(flow, threads=threads)
        yield mnp.folding_penalty(moves, (301, 517), threads=threads)
        yield mnp.jacobian_determinant(moves, (301, 517), threads=threads)
        yield mnp.spline_field(moves, (301, 517), (1, 0), threads=threads)
        yield mnp.transform_chain(image, moves, lattice, image, (-0.7, 0.9), threads=threads)
        yield mnp.polynomial_bias_field(image, *polynomial, degree=3, warp="thin_plate", threads=threads)
        yield mnp.exponentiate(flow, 3, threads=threads)

    expected = list(run(1))
    for threads in (2, 3, 16, None):
        for got, one in zip(run(threads), expected, strict=True):
            assert same_bits(got, one)
    (torch_bits,) = bits_for_threads(lambda: by_torch("spline_warp", (image, moves, "cubic"))[0], (2,))
    assert same_bits(expected[2], torch_bits)


@pytest.mark.parametrize("name", [f for f in FUNCTIONS if "out" in inspect.signature(getattr(mnp, f)).parameters])
@pytest.mark.parametrize("dtype", DTYPES)
def test_out_takes_the_result(name, dtype):
    for args in [args for called, args in calls(dtype) if called == name]:
        expected = outputs(apply(getattr(mnp, name), args))
        out = np.full_like(expected[0], np.nan)
        got = outputs(apply(getattr(mnp, name), args, out=out))
        assert got[0] is out
        assert all(map(same_bits, got, expected))


@pytest.mark.skipif(not CAN_GUARD, reason="needs Linux")
@pytest.mark.parametrize("at_end", [False, True], ids=["begin", "end"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_touches_nothing_past_its_arrays(dtype, at_end):
    def run():
        for name, args in calls(dtype):
            function = getattr(mnp, name)
            expected = outputs(apply(function, args))
            inside = [guarded(a, at_end=at_end) if isinstance(a, np.ndarray) else a for a in args]
            takes_out = "out" in inspect.signature(function).parameters
            more = {"out": guarded(np.full_like(expected[0], np.nan), at_end=at_end)} if takes_out else {}
            assert all(map(same_bits, outputs(apply(function, inside, **more)), expected)), name

    assert survives(run)


def test_control_points_may_be_of_any_dtype_and_layout():
    image, terms = sample(2, 3, 37, 53), sample(2, 1, 10)
    for dtype in DTYPES:
        control = sample(4, 2, 2, 5, dtype=dtype, scale=0.3).transpose(1, 2, 0, 3)[..., ::-1]
        for motion in ["thin_plate", "flow"]:
            got = mnp.polynomial_bias_field(image, terms, control, degree=3, warp=motion)
            args = image, terms, control.copy(), With(degree=3, warp=motion)
            assert same_bits(got, *by_torch("polynomial_bias_field", args))


@pytest.mark.parametrize("dtype", DTYPES)
def test_velocities_may_be_of_any_layout_and_stay_as_they_are(dtype):
    velocity = sample(53, 37, 2, 2, dtype=dtype, scale=9).T
    before = velocity.copy()
    for steps in (0, 1, 2):
        got = mnp.exponentiate(velocity, steps)
        assert got.flags.c_contiguous
        assert same_bits(got, *by_torch("exponentiate", (before, steps)))
        got[:] = 0
        assert (velocity == before).all()


def test_terms_are_those_of_the_operators_over_tensors():
    assert mnp.polynomial_terms is ops.polynomial_terms


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
mnp.transform_chain(image, moves, lattice, image, (0.0, 1.0), out=out, threads=2)
mnp.polynomial_bias_field(image, fill(4, 1, 3), moves, degree=1, warp="thin_plate", out=out, threads=2)
mnp.compose(flow, flow, out=out[:2].reshape(flow.shape), threads=2)
mnp.bending_energy(flow, threads=2)
mnp.folding_penalty(flow, threads=2)
mnp.folding_penalty(moves, (1024, 1024), threads=2)
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
mnp.spline_field(flow[:, :, :4, :5].copy(), (300, 400), (0, 1))
mnp.folding_penalty(flow[:, :, :4, :5].copy(), (300, 400))
mnp.transform_chain(flow, flow[:, :, :4, :5].copy(), noise=flow)
mnp.exponentiate(mnp.compose(flow, flow))
terms = np.zeros((1, 1, len(mnp.polynomial_terms(2, 2))), np.float32)
mnp.polynomial_bias_field(flow, terms, flow[:, :, :4, :5], degree=2, warp="thin_plate")
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


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signatures_are_those_of_the_operators_over_tensors(name):
    ours = inspect.signature(getattr(mnp, name)).parameters
    theirs = inspect.signature(getattr(ops, name)).parameters
    of_arrays = [p for p in ours.values() if p.name not in ("out", "threads")]
    assert [(p.name, p.default, p.kind) for p in of_arrays] == [(p.name, p.default, p.kind) for p in theirs.values()]
    assert all(ours[name].kind is inspect.Parameter.KEYWORD_ONLY for name in {"out", "threads"} & set(ours))


IMAGE, LATTICE, FLOW = sample(2, 3, 8, 9), sample(2, 1, 4, 5), sample(2, 2, 8, 9)
MOVES, TERMS, CONTROL = sample(2, 2, 4, 5), sample(2, 1, 3), sample(2, 2, 3, 4)


def polynomial(control=None, **words):
    return mnp.polynomial_bias_field(IMAGE, TERMS, control, **{"degree": 1, **words})


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
        (lambda: mnp.bias_field(IMAGE, LATTICE, out=IMAGE.copy()[:, :, ::-1]), "out must be C-contiguous and aligned"),
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
        (lambda: mnp.folding_penalty(MOVES, (1, 9)), "folding_penalty: size must be at least 2 along every axis"),
        (
            lambda: mnp.jacobian_determinant(LATTICE, (8, 9)),
            "displacement must have one component per axis of the image, 2",
        ),
        (lambda: mnp.spline_field(MOVES, (8, 9), (1, 2)), "derivative must be of order 0 to 2 in all"),
        (lambda: mnp.spline_field(MOVES, (8, 9), (1, 0), -1.0), "voxel_size must be positive and finite"),
        (lambda: mnp.compose(IMAGE, IMAGE), "compose: outer must be \\[N, 2, H, W\\] or .*got \\[2, 3, 8, 9\\]"),
        (lambda: mnp.compose(FLOW, FLOW[:1]), "compose: inner must have the shape of outer"),
        (lambda: mnp.compose(FLOW, FLOW.astype("f8")), "inner must have the dtype of outer, float32, got float64"),
        (lambda: mnp.compose(FLOW.astype("i4"), FLOW), "outer must be float16, float32 or float64, got int32"),
        (lambda: mnp.compose(FLOW, np.asfortranarray(FLOW)), "compose: inner must be C-contiguous"),
        (lambda: mnp.compose(FLOW, FLOW, out=FLOW), "compose: out must not share memory with an argument"),
        (lambda: mnp.exponentiate(FLOW.astype(">f4")), "velocity must be float16, float32 or float64, got >f4"),
        (lambda: mnp.exponentiate(FLOW, 31), "exponentiate: steps must be 0 to 30, got 31"),
        (lambda: mnp.transform_chain(IMAGE, noise=FLOW), "transform_chain: noise must have the shape of image"),
        (lambda: mnp.transform_chain(IMAGE, LATTICE, LATTICE), "displacement must have one component per axis"),
        (lambda: mnp.transform_chain(IMAGE, bounds=(1, 0)), "bounds must be low and high, low not above high"),
        (lambda: mnp.transform_chain(IMAGE, origin=np.inf), "origin must be finite, got inf"),
        (lambda: mnp.membrane_energy(FLOW, voxel_size=1e308), "membrane_energy: voxel_size must make the factors of"),
        (lambda: mnp.membrane_energy(LATTICE, (5, 6), 1e308), "membrane_energy: voxel_size must make the cube of a"),
        (lambda: mnp.jacobian_determinant(FLOW, voxel_size=5e-324), "voxel_size must make the factors of derivatives"),
        (lambda: mnp.transform_chain(IMAGE, noise=IMAGE, out=IMAGE), "out must not share memory with an argument"),
        (lambda: polynomial(basis="chebyshev"), "basis must be one of legendre, monomial, got 'chebyshev'"),
        (lambda: polynomial(CONTROL, warp="affine"), "warp must be one of None, thin_plate, flow, got 'affine'"),
        (lambda: polynomial(CONTROL), "polynomial_bias_field: control needs a warp"),
        (lambda: polynomial(CONTROL[:1], warp="flow"), "control must have one entry per image"),
        (lambda: polynomial(CONTROL[:, :1], warp="flow"), "control must be \\[N, 2, Gy, Gx\\]"),
        (lambda: polynomial(CONTROL.astype("i4"), warp="flow"), "control must be of a floating dtype, got int32"),
        (lambda: polynomial(degree=13), "degree must be from 0 to 12, got 13"),
        (lambda: polynomial(degree=2), "coefficients must be \\[N, K, 6\\] for degree 2"),
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
        (lambda: mnp.bending_energy([[1.0]], (2, 2)), "field must be a numpy.ndarray, got list"),
        (lambda: mnp.folding_penalty([[1.0]], (2, 2)), "displacement must be a numpy.ndarray, got list"),
        (lambda: mnp.jacobian_determinant([[1.0]], (2, 2)), "displacement must be a numpy.ndarray, got list"),
        (lambda: mnp.compose(FLOW, None), "inner must be a numpy.ndarray, got NoneType"),
        (lambda: mnp.exponentiate(FLOW, 7.0), "steps must be an integer, got float"),
        (lambda: mnp.transform_chain(IMAGE, noise=[1.0]), "noise must be a numpy.ndarray, got list"),
        (lambda: mnp.transform_chain(IMAGE, bounds=1.0), "bounds must be two numbers"),
        (lambda: mnp.add_noise(IMAGE, IMAGE, (0.0, None)), "add_noise: the high bound must be a number, got None"),
        (lambda: mnp.project_noise(IMAGE, IMAGE, (0.0, 1.0), "a"), "project_noise: radius must be a number, got 'a'"),
        (lambda: mnp.sign_step(IMAGE, IMAGE, IMAGE, None, (0.0, 1.0), 0.1), "sign_step: length must be a number"),
        (lambda: mnp.sign_step(IMAGE, IMAGE, IMAGE, 0.1, (0.0, 1.0), 1j), "sign_step: radius must be a number"),
        (lambda: mnp.unit_step(IMAGE, IMAGE, IMAGE, "1", (0.0, 1.0), 0.1), "unit_step: length must be a number"),
        (
            lambda: mnp.unit_step(None, IMAGE, IMAGE, 1.0, (0.0, 1.0), 0.1),
            "image must be a numpy.ndarray, got NoneType",
        ),
        (lambda: polynomial(warp="flow"), "control must be a numpy.ndarray, got NoneType"),
        (lambda: polynomial(degree=1.5), "polynomial_bias_field: degree must be a whole number, got 1.5"),
        (lambda: polynomial(degree=None), "polynomial_bias_field: degree must be a whole number, got None"),
        (lambda: polynomial(degree=True), "polynomial_bias_field: degree must be a whole number, got True"),
        (lambda: mnp.bias_field(IMAGE, LATTICE, threads=1.5), "threads must be a whole number, got 1.5"),
    ],
)
def test_what_is_no_array_is_a_type_error(run, sentence):
    with pytest.raises(TypeError, match=sentence) as error:
        run()
    assert "\n" not in str(error.value)


def test_out_may_lie_beside_an_argument_but_not_share_a_byte():
    before, after = (np.zeros(IMAGE.size + LATTICE.size, "f4") for _ in range(2))
    before[: LATTICE.size], after[IMAGE.size :] = LATTICE.ravel(), LATTICE.ravel()
    for buffer, first in [(before, True), (after, False)]:
        lattice = (buffer[: LATTICE.size] if first else buffer[IMAGE.size :]).reshape(LATTICE.shape)
        out = (buffer[LATTICE.size :] if first else buffer[: IMAGE.size]).reshape(IMAGE.shape)
        mnp.bias_field(IMAGE, lattice, out=out)
        assert same_bits(out, mnp.bias_field(IMAGE, LATTICE))
        one_further = buffer[LATTICE.size - 1 : -1] if first else buffer[1 : IMAGE.size + 1]
        with pytest.raises(ValueError, match="out must not share memory with an argument"):
            mnp.bias_field(IMAGE, lattice, out=one_further.reshape(IMAGE.shape))


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
