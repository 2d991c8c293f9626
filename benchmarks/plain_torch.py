"""The strongest plain-PyTorch forms of our operators: the yardstick, eager and under torch.compile.

Splines: one dense basis matrix per axis, applied by matrix products. Far faster than any dedicated library.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def basis(size: int, knots: int) -> Tensor:
    """Dense ``[size, knots]`` matrix of cubic B-spline weights at the voxels of one axis."""
    u = torch.linspace(0, knots - 3, size, dtype=torch.float64)[:, None]
    distance = (u - torch.arange(-1, knots - 1, dtype=torch.float64)).abs()
    near, far = (4 - 6 * distance**2 + 3 * distance**3) / 6, (2 - distance) ** 3 / 6
    return torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0)).float()


def slope_basis(size: int, knots: int) -> Tensor:
    """The same of the first derivative, per voxel."""
    u = torch.linspace(0, knots - 3, size, dtype=torch.float64)[:, None]
    r = u - torch.arange(-1, knots - 1, dtype=torch.float64)
    a, sign = r.abs(), r.sign() * ((knots - 3) / (size - 1))
    near, far = (1.5 * a - 2) * a, -((2 - a) ** 2) / 2
    return (sign * torch.where(a < 1, near, torch.where(a < 2, far, 0.0))).float()


def bases(size, knots, device="cpu"):
    """Matrices for :func:`spline_field`, one per axis; the last one transposed, as the product takes it."""
    matrices = [basis(n, k).to(device) for n, k in zip(size, knots, strict=True)]
    return [*matrices[:-1], matrices[-1].T.contiguous()]


def spline_field(lattice: Tensor, matrices: list[Tensor]) -> Tensor:
    """``[N, K, *G] -> [N, K, *S]``."""
    field = matrices[-2] @ (lattice @ matrices[-1])
    if len(matrices) == 3:
        depth = matrices[0] @ field.flatten(3)
        field = depth.reshape(*lattice.shape[:2], -1, *field.shape[3:])
    return field


def bias_field(image: Tensor, lattice: Tensor, matrices: list[Tensor]) -> Tensor:
    """``image * exp(B(lattice))``."""
    return torch.exp(spline_field(lattice, matrices)) * image


def gaussian_kernels(image: Tensor, sigma: float) -> list[Tensor]:
    """Depthwise kernels for :func:`gaussian_blur`, one per axis."""
    axes, radius = image.dim() - 2, math.ceil(4 * sigma)
    w = torch.exp(-(torch.arange(-radius, radius + 1.0, device=image.device) ** 2) / (2 * sigma**2))
    shapes = [[-1 if a == axis else 1 for a in range(axes)] for axis in range(axes)]
    return [(w / w.sum()).reshape(1, 1, *shape).expand(image.shape[1], 1, *[-1] * axes) for shape in shapes]


def gaussian_blur(image: Tensor, kernels: list[Tensor]) -> Tensor:
    """Separable, with reflected borders."""
    axes = image.dim() - 2
    convolve = F.conv2d if axes == 2 else F.conv3d
    for axis, kernel in enumerate(kernels):
        padding = [0] * (2 * axes)
        padding[2 * (axes - 1 - axis)] = padding[2 * (axes - 1 - axis) + 1] = kernel.shape[axis + 2] // 2
        image = convolve(F.pad(image, padding, mode="reflect"), kernel, groups=image.shape[1])
    return image


def membrane_energy(u: Tensor) -> Tensor:
    """Mean square of the forward differences, over the batch."""
    return sum(u.diff(dim=d).square().mean() for d in range(2, u.dim()))


def total_variation(u: Tensor) -> Tensor:
    """Mean magnitude of the forward differences, over the batch."""
    return sum(u.diff(dim=d).abs().mean() for d in range(2, u.dim()))


def bending_energy(u: Tensor) -> Tensor:
    """Mean square of second differences, mixed ones twice; slices of one tensor, no intermediate differences."""
    total = 0.0
    for a in range(2, u.dim()):
        n = u.shape[a] - 2
        second = u.narrow(a, 2, n) - 2 * u.narrow(a, 1, n) + u.narrow(a, 0, n)
        total = total + second.square().mean()
        for b in range(a + 1, u.dim()):
            n, m = u.shape[a] - 1, u.shape[b] - 1
            low, high = u.narrow(a, 0, n), u.narrow(a, 1, n)
            mixed = high.narrow(b, 1, m) - high.narrow(b, 0, m) - low.narrow(b, 1, m) + low.narrow(b, 0, m)
            total = total + 2 * mixed.square().mean()
    return total


def folding_penalty(u: Tensor) -> Tensor:
    """Mean square of what Jacobian determinants lack to 0.01, over the batch."""
    axes = u.shape[1]
    start = u
    for a in range(2, u.dim()):
        start = start.narrow(a, 0, u.shape[a] - 1)
    slopes = []
    for a in range(axes):
        ahead = u
        for b in range(axes):
            ahead = ahead.narrow(b + 2, int(a == b), u.shape[b + 2] - 1)
        slopes.append(ahead - start)
    return F.relu(0.01 - determinant(slopes)).square().mean()


def determinant(slopes: list[Tensor]) -> Tensor:
    """Of I + derivatives, one ``[N, component, ...]`` per axis."""
    g = [[d[:, c] + 1 if c == a else d[:, c] for c in range(len(slopes))] for a, d in enumerate(slopes)]
    if len(slopes) == 2:
        return g[0][0] * g[1][1] - g[0][1] * g[1][0]
    return (
        g[0][0] * (g[1][1] * g[2][2] - g[1][2] * g[2][1])
        - g[0][1] * (g[1][0] * g[2][2] - g[1][2] * g[2][0])
        + g[0][2] * (g[1][0] * g[2][1] - g[1][1] * g[2][0])
    )


class LatticeJacobian:
    """Jacobian determinants of a lattice by matrix products, which share what they can."""

    def __init__(self, size, knots, device="cpu"):
        self.value = bases(size, knots, device)
        slope = [slope_basis(n, k).to(device) for n, k in zip(size, knots, strict=True)]
        self.slope = [*slope[:-1], slope[-1].T.contiguous()]

    def __call__(self, lattice: Tensor) -> Tensor:
        value, slope = self.value, self.slope
        flat, steep = lattice @ value[-1], lattice @ slope[-1]
        planes = [slope[-2] @ flat, value[-2] @ steep]
        if len(value) == 2:
            return determinant(planes)
        along = [(slope[0], value[-2] @ flat), *[(value[0], plane) for plane in planes]]
        return determinant([(m @ p.flatten(3)).unflatten(3, p.shape[3:]) for m, p in along])

    def folding_penalty(self, lattice: Tensor) -> Tensor:
        """Mean square of what they lack to 0.01, over the batch."""
        return F.relu(0.01 - self(lattice)).square().mean()


MODES = {"nearest": "nearest", "linear": "bilinear", "cubic": "bicubic"}


class SplineWarp:
    """``x(p + B(c)(p))``. Identity and normalisation are folded into the control points (splines reproduce linear
    functions), so the sampling grid comes straight out of the products."""

    def __init__(self, size, knots, interpolation="linear", device="cpu"):
        self.mode = MODES[interpolation]
        self.matrices = bases(size, knots, device)
        axes = [(torch.arange(k) - 1.0) * (2 / (k - 3)) - 1 for k in knots]
        self.identity = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1])[None].to(device)
        scale = torch.tensor([2 / (n - 1) for n in size[::-1]])
        self.scale = scale.reshape(1, -1, *[1] * len(size)).to(device)

    def __call__(self, image: Tensor, lattice: Tensor) -> Tensor:
        field = spline_field(lattice.flip(1) * self.scale + self.identity, self.matrices)
        return F.grid_sample(image, field.movedim(1, -1), mode=self.mode, align_corners=True)


class Warp:
    """``x(p + d(p))`` for displacements in voxels, components in the order of the axes."""

    def __init__(self, size, interpolation="linear", device="cpu"):
        self.mode = MODES[interpolation]
        axes = [torch.linspace(-1, 1, n) for n in size]
        self.identity = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)[None].to(device)
        self.scale = torch.tensor([2 / (n - 1) for n in size[::-1]]).to(device)

    def __call__(self, image: Tensor, displacement: Tensor) -> Tensor:
        grid = displacement.flip(1).movedim(1, -1) * self.scale + self.identity
        return F.grid_sample(image, grid, mode=self.mode, align_corners=True)


class TransformChain:
    """Warp, bias field, noise and clip, one after the other."""

    def __init__(self, size, motion_knots, gain_knots, interpolation="linear", device="cpu"):
        self.warp = SplineWarp(size, motion_knots, interpolation, device)
        self.matrices = bases(size, gain_knots, device)

    def __call__(self, image: Tensor, displacement: Tensor, log_gain: Tensor, noise: Tensor, bounds) -> Tensor:
        return (bias_field(self.warp(image, displacement), log_gain, self.matrices) + noise).clamp(*bounds)


class Flow:
    """Displacements in the order and units of ``grid_sample``, so that they are its grid but for the identity."""

    def __init__(self, size, device="cpu"):
        axes = [torch.linspace(-1, 1, n) for n in size]
        self.identity = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)[None].to(device)
        scale = torch.tensor([2 / (n - 1) for n in size[::-1]])
        self.scale = scale.reshape(1, -1, *[1] * len(size)).to(device)

    def _after(self, outer: Tensor, inner: Tensor) -> Tensor:
        grid = inner.movedim(1, -1) + self.identity
        return inner + F.grid_sample(outer, grid, padding_mode="border", align_corners=True)

    def compose(self, outer: Tensor, inner: Tensor) -> Tensor:
        """``inner(p) + outer(p + inner(p))`` of displacements in voxels, components in the order of the axes."""
        grid = (inner.flip(1) * self.scale).movedim(1, -1) + self.identity
        return inner + F.grid_sample(outer, grid, padding_mode="border", align_corners=True)

    def exponentiate(self, velocity: Tensor) -> Tensor:
        """Scaling and squaring, seven times."""
        displacement = velocity.flip(1) * (self.scale * 2.0**-7)
        for _ in range(7):
            displacement = self._after(displacement, displacement)
        return (displacement / self.scale).flip(1)


class PolynomialBiasField:
    """``image * exp(sum of a P_t(v) P_l(u))`` with Legendre polynomials; matrices are prepared beforehand."""

    def __init__(self, size, degree, warp=None, grid=None, device="cpu"):
        self.size, self.degree, self.warp = size, degree, warp
        axes = [torch.linspace(-1, 1, n, dtype=torch.float64) for n in size]
        powers = torch.cartesian_prod(*[torch.arange(degree + 1)] * len(size))
        self.dense = torch.nonzero(powers.sum(1) <= degree)[:, 0].to(device)
        self.rows = [torch.stack(self._legendre(u)).float().to(device) for u in axes]
        self.start = torch.stack(torch.meshgrid(*axes, indexing="ij")).float().to(device)
        if warp == "thin_plate":
            points = torch.cartesian_prod(*[torch.linspace(-1, 1, n, dtype=torch.float64) for n in grid])
            system = F.pad(self._kernel_rows(points, points), (0, 0, 0, len(size) + 1))
            system[len(points) :, : len(points)] = system[: len(points), len(points) :].T
            solution = torch.linalg.inv(system)[:, : len(points)]
            voxels = torch.cartesian_prod(*axes)
            self.kernel = (self._kernel_rows(voxels, points) @ solution).T.float().contiguous().to(device)

    def _legendre(self, x):
        values = [torch.ones_like(x), x]
        for n in range(1, self.degree):
            values.append(((2 * n + 1) * x * values[n] - n * values[n - 1]) / (n + 1))
        return values[: self.degree + 1]

    @staticmethod
    def _kernel_rows(at, points):
        square = (at[:, None] - points).square().sum(-1)
        kernel = torch.xlogy(square, square) if at.shape[1] == 2 else square.sqrt()
        return torch.cat([kernel, torch.ones(len(at), 1, dtype=at.dtype), at], 1)

    def __call__(self, image: Tensor, coefficients: Tensor, control: Tensor | None = None) -> Tensor:
        axes, count = len(self.size), self.degree + 1
        if self.warp is None:
            dense = coefficients.new_zeros(*coefficients.shape[:2], count**axes).index_copy(2, self.dense, coefficients)
            field = self.rows[-2].T @ (dense.unflatten(2, [count] * axes) @ self.rows[-1])
            if axes == 3:
                field = (self.rows[0].T @ field.flatten(3)).reshape(*coefficients.shape[:2], *self.size)
            return torch.exp(field) * image
        if self.warp == "thin_plate":
            moved = (control.flatten(2) @ self.kernel).unflatten(2, self.size)
        else:
            mode = "bilinear" if axes == 2 else "trilinear"
            moved = F.interpolate(control, self.size, mode=mode, align_corners=True)
        at = (moved + self.start).unbind(1)
        a = coefficients[:, 0].T.reshape(-1, len(image), *[1] * axes)
        return torch.exp(self._evaluate(iter(range(len(a))), a, at, self.degree))[:, None] * image

    def _evaluate(self, terms, a, at, degree):
        """Clenshaw's recurrence along the first axis; its coefficients are polynomials along the others."""
        rows = []
        for n in range(degree + 1):
            rows.append(a[next(terms)] if len(at) == 1 else self._evaluate(terms, a, at[1:], degree - n))
        b1 = b2 = 0.0
        for n in range(degree, 0, -1):
            b1, b2 = rows[n] + (2 * n + 1) / (n + 1) * at[0] * b1 - (n + 1) / (n + 2) * b2, b1
        return rows[0] + at[0] * b1 - 0.5 * b2


def add_noise(image: Tensor, noise: Tensor, low: float, high: float) -> Tensor:
    """image + noise, rounded towards the image and clipped: the error of the sum is that of TwoSum."""
    total = image + noise
    back = total - image
    error = (image - (total - back)) + (noise - back)
    beyond = error.sign() * (image - total).sign() > 0
    return torch.where(beyond, torch.nextafter(total, image), total).clamp(low, high)


def project_noise(image: Tensor, noise: Tensor, low: float, high: float, radius: float, norm: str) -> Tensor:
    """Noise inside the bounds and a ball; its length is summed in float64."""
    clipped = noise.clamp(low - image, high - image)
    if norm == "linf":
        return clipped.clamp(-radius, radius)
    shrink = (radius / row_lengths(clipped, norm)).clamp(max=1).float()
    return clipped * shrink.reshape(-1, *[1] * (image.ndim - 1))


def sign_step(
    image: Tensor, noise: Tensor, gradient: Tensor, length: float, low: float, high: float, radius: float
) -> tuple[Tensor, Tensor]:
    """Noise after a step of the sign of a gradient, inside the bounds and the ball; and the image."""
    stepped = project_noise(image, noise + length * gradient.sign(), low, high, radius, "linf")
    return stepped, add_noise(image, stepped, low, high)


def unit_step(
    image: Tensor, noise: Tensor, gradient: Tensor, length: float, low: float, high: float, radius: float, norm: str
) -> Tensor:
    """Noise after a step of one length, inside the bounds and a ball."""
    return project_noise(image, noise + length * unit_rows(gradient, "l2"), low, high, radius, norm)


def row_lengths(values: Tensor, norm: str) -> Tensor:
    """The length of every row in float64."""
    order = {"linf": torch.inf, "l1": 1, "l2": 2}[norm]
    return torch.linalg.vector_norm(values.flatten(1), order, dim=1, dtype=torch.float64)


def unit_rows(values: Tensor, norm: str) -> Tensor:
    """Rows of length 1."""
    return values * row_lengths(values, norm).reciprocal().float().reshape(-1, *[1] * (values.ndim - 1))
