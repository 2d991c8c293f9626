"""Distances to decision boundaries the slow way: an independent oracle for minimum-norm attacks."""

import numpy as np

ORDERS = {"linf": np.inf, "l2": 2, "l1": 1, "l0": 0}


def to_hyperplane(weight, rise, low, high, norm):
    """The shortest d with <weight, d> >= rise > 0 and low <= d <= high, by bisection; inf where there is none."""
    room = np.where(weight > 0, high, -low)
    if np.abs(weight) @ room < rise:
        return np.inf
    if norm == "l0":
        # The entries that can raise most, one after the other, until it is enough.
        gains = np.sort(np.abs(weight) * room)[::-1]
        return float(np.argmax(np.cumsum(gains) >= rise) + 1)

    def change(effort):
        if norm == "linf":
            return np.minimum(effort, room)
        if norm == "l2":
            return np.minimum(effort * np.abs(weight), room)
        # l1: a price per unit of change; entries whose weight is above it are used up.
        return np.where(np.abs(weight) * effort > 1, room, 0.0)

    lower, upper = 0.0, 1.0
    while np.abs(weight) @ change(upper) < rise:
        upper *= 2
    for _ in range(200):
        middle = (lower + upper) / 2
        lower, upper = (middle, upper) if np.abs(weight) @ change(middle) < rise else (lower, middle)
    best = change(upper)
    if norm == "l1":
        # The last entry is used in part.
        over = np.abs(weight) @ best - rise
        return best.sum() - over / np.abs(weight[best != change(lower)]).max()
    return np.linalg.norm(best, ORDERS[norm])


def of_linear_model(weight, logits, images, targets, bounds, norm):
    """Exact distance of each image to the nearest boundary of a linear model, as a fraction of the image range; for l0
    the number of entries.

    weight [K, P] and logits [N, K] as the victim sees them (K >= 2), images [N, P].
    """
    low, high = bounds
    found = []
    for image, answer, target in zip(images, logits, targets, strict=True):
        distances = [
            to_hyperplane(weight[k] - weight[target], answer[target] - answer[k], low - image, high - image, norm)
            for k in range(len(weight))
            if k != target
        ]
        found.append(min(distances) / (1 if norm == "l0" else high - low))
    return np.array(found)


def to_ellipsoid(point, scales, norm):
    """Distance of a point outside sum(scales z^2) <= 1 to it, by bisection."""

    def nearest(effort):
        return point / (1 + effort * scales) if norm == "l2" else point - np.clip(point, -effort, effort)

    lower, upper = 0.0, 1.0
    while scales @ nearest(upper) ** 2 > 1:
        upper *= 2
    for _ in range(200):
        middle = (lower + upper) / 2
        lower, upper = (middle, upper) if scales @ nearest(middle) ** 2 > 1 else (lower, middle)
    return np.linalg.norm(point - nearest(upper), ORDERS[norm])
