"""What a Frechet distance costs: ours, with and without the
reference's factor, beside SciPy's sqrtm, in one run.

Run: python tests/bench/frechet.py [--dims 2048] [--count 4096] [--repeats 1] Covariances
of random features with standard deviations over two decades, given to all routes. One
thread; medians of processor time, which on an idle machine is the time on the clock.
"ours, first" also factors the reference; every later cell costs "ours, again".
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from scipy.linalg import sqrtm

from engine.metrics.frechet import FeatureStats, Gaussian, frechet_distance


def gaussian(count: int, dims: int, seed: int) -> Gaussian:
    """The Gaussian of random correlated features."""
    generator = torch.Generator().manual_seed(seed)
    scales = torch.logspace(-1, 1, dims) * (1 + 0.2 * seed)
    mixing = torch.randn(dims, dims, generator=torch.Generator().manual_seed(9)) / dims**0.5
    return FeatureStats.of(torch.randn(count, dims, generator=generator) * scales @ mixing + 1).gaussian


def by_sqrtm(a: Gaussian, b: Gaussian) -> float:
    """The distance as FID was published: the trace of a general matrix square root."""
    cross = sqrtm((a.covariance @ b.covariance).numpy()).real.trace()
    shift = (a.mean - b.mean).square().sum()
    return float(shift + a.covariance.trace() + b.covariance.trace() - 2 * cross)


def timed(distance: Callable[[], float], repeats: int) -> tuple[float, float]:
    """Median processor time in seconds, and the distance."""
    times = []
    for _ in range(repeats):
        began = time.process_time()
        value = distance()
        times.append(time.process_time() - began)
    return statistics.median(times), value


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dims", type=int, default=2048, help="dimensions of the features (2048)")
    parser.add_argument("--count", type=int, default=4096, help="vectors behind each covariance (4096)")
    parser.add_argument("--repeats", type=int, default=1, help="runs, of which the median is taken (1)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    real, fake = (gaussian(arguments.count, arguments.dims, seed) for seed in (0, 1))
    routes: dict[str, Callable[[], float]] = {
        "SciPy's sqrtm": lambda: by_sqrtm(real, fake),
        "ours, first": lambda: frechet_distance(Gaussian(real.mean, real.covariance), fake),
        "ours, again": lambda: frechet_distance(real, fake),
    }
    frechet_distance(real, fake)  # factors the reference for the last route
    slowest, expected = None, None
    print(f"d = {arguments.dims}, {arguments.count} vectors, float64, 1 thread")
    print(f"{'route':16} {'seconds':>9} {'speed-up':>9} {'distance':>14} {'relative gap':>13}")
    for name, route in routes.items():
        seconds, value = timed(route, arguments.repeats)
        slowest, expected = slowest or seconds, expected or value
        gap = abs(value / expected - 1)
        print(f"{name:16} {seconds:9.2f} {slowest / seconds:8.1f}x {value:14.8g} {gap:13.0e}", flush=True)


if __name__ == "__main__":
    main()
