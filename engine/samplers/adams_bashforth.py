"""The idea of LMS and DEIS: extrapolate the latest slopes by a polynomial, and integrate it exactly.

The probability-flow ODE is dx/dsigma = d(x, sigma), d = (x - D(x; sigma)) / sigma. Over one step a method of
order p takes for d the polynomial, in some variable u(sigma), through the slopes at the last p noise levels:

    x_{i+1} = x_i + sum_{j < p} c_j d_{i-j},    c_j = integral from t_i to t_{i+1} of L_j(u(sigma)) dsigma
    L_j(u)  = prod_{k < p, k != j} (u - u_{i-k}) / (u_{i-j} - u_{i-k})         # Lagrange

With u = sigma these are Adams and Bashforth's weights for unequal steps.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

QUADRATURE_POINTS = 24
"""Exact to float64 for what is integrated here:
a polynomial times exp over a step of less than 14 in ln sigma."""


def lagrange_weights(
    nodes: Sequence[float], start: float, end: float, density: Callable[[float], float]
) -> tuple[float, ...]:
    """Integral from `start` to `end` of each node's Lagrange polynomial times `density`, over u."""
    centre = (start + end) / 2
    half = (end - start) / 2
    weights = []
    for chosen in nodes:
        others = [node for node in nodes if node != chosen]
        total = 0.0
        for point, share in _gauss_legendre():
            u = centre + half * point
            value = share * density(u)
            for other in others:
                value *= (u - other) / (chosen - other)
            total += value
        weights.append(half * total)
    return tuple(weights)


@lru_cache(maxsize=1)
def _gauss_legendre() -> tuple[tuple[float, float], ...]:
    """Points in [-1, 1] and their shares."""
    from numpy.polynomial.legendre import leggauss

    points, shares = leggauss(QUADRATURE_POINTS)
    return tuple(zip(points.tolist(), shares.tolist(), strict=True))
