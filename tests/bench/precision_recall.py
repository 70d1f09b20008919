"""What precision, recall, density and coverage cost:
in tiles, and the obvious way with whole matrices, in one run.

Run: python tests/bench/precision_recall.py [--count 10000] [--dims 64] Both get the same random float32
features. The obvious way takes torch.cdist of float64 features three times, a sort for the radii and
comparisons on whole [N, N] matrices. One thread, processor time, which on an idle machine is the time on the
clock; memory is the largest growth of the process while it ran. "ours, again" keeps the reference's radii, as
every cell after the first does. The last lines say what float32 products of centred features with float64
norms would change.
"""

import argparse
import threading
import time
from collections.abc import Callable

import psutil
import torch
from torch import Tensor

from engine.metrics.precision_recall import Manifold, Overlap, overlap, squared_distances

K = 3


def with_whole_matrices(real: Tensor, fake: Tensor) -> Overlap:
    """The definitions, a matrix each."""
    real, fake = real.double(), fake.double()
    real_radii, fake_radii = (torch.cdist(one, one).kthvalue(K + 1).values for one in (real, fake))
    distances = torch.cdist(real, fake)
    in_real, in_fake = distances <= real_radii[:, None], distances <= fake_radii
    shares = (in_real.any(dim=0), in_fake.any(dim=1), in_real.any(dim=1))
    precision, recall, coverage = (float(flags.double().mean()) for flags in shares)
    return Overlap(precision, recall, float(in_real.sum(dim=0).double().mean()) / K, coverage)


def measured(run: Callable[[], Overlap]) -> tuple[float, float, Overlap]:
    """Processor time in seconds, largest growth of the process in MiB, and the result."""
    process, done = psutil.Process(), threading.Event()
    before = largest = process.memory_info().rss

    def watch() -> None:
        nonlocal largest
        while not done.wait(0.01):
            largest = max(largest, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.process_time()
    found = run()
    seconds = time.process_time() - began
    done.set()
    watcher.join()
    return seconds, (largest - before) / 2**20, found


def in_float32(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances with float32 products, norms and sums in float64."""
    norms_a, norms_b = (one.double().square().sum(dim=1) for one in (a, b))
    return norms_a[:, None] + norms_b - 2 * (a @ b.T).double()


def compare_float32(real: Tensor, fake: Tensor) -> None:
    """Print how far float32 products are off for near pairs,
    how many decisions they turn, and what they save."""
    centre = real.mean(dim=0)
    a, b = real[:2048] - centre, fake[:2048] - centre
    radii = Manifold.of(a, K).squared_radii[:, None]
    times = []
    for products in (lambda: squared_distances(a.double(), b.double()), lambda: in_float32(a, b)):
        began = time.process_time()
        distances = products()
        times.append((time.process_time() - began, distances))
    (exact_time, exact), (time32, rounded) = times
    turned = int(((exact <= radii) != (rounded <= radii)).sum())
    copies = in_float32(a, a).diagonal().abs().max() / exact.min()
    print(
        f"float32 products: {exact_time / time32:.1f}x as "
        f"fast, {turned} of {exact.numel():,} decisions turned,"
    )
    print(
        f"relative error at most {float((rounded / exact - 1).abs().max()):.0e}; "
        f"copies up to {copies:.0e} of the"
    )
    print("nearest pair's squared distance apart")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10_000, help="real and generated vectors each (10000)")
    parser.add_argument("--dims", type=int, default=64, help="dimensions of the features (64)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(arguments.dims, arguments.dims, generator=generator) * torch.logspace(
        -2, 0, arguments.dims
    )
    real, fake = torch.randn(2, arguments.count, arguments.dims, generator=generator) @ mixing.T + 3
    reference = Manifold.of(real, K)
    routes = {
        "ours, again": lambda: overlap(reference, Manifold.of(fake, K)),
        "ours, first": lambda: overlap(Manifold.of(real, K), Manifold.of(fake, K)),
        "whole matrices": lambda: with_whole_matrices(real, fake),
    }
    print(f"{arguments.count:,} x {arguments.count:,}, d = {arguments.dims}, k = {K}, float64, 1 thread")
    outcomes = {name: measured(route) for name, route in routes.items()}
    slowest = outcomes["whole matrices"][0]
    print(f"{'route':16} {'seconds':>8} {'speed-up':>9} {'MiB':>7}  precision recall density coverage")
    for name, (seconds, mebibytes, found) in outcomes.items():
        values = "{:9.4f} {:6.4f} {:7.4f} {:8.4f}".format(*found)
        print(f"{name:16} {seconds:8.2f} {slowest / seconds:8.1f}x {mebibytes:7,.0f}  {values}")
    compare_float32(real, fake)


if __name__ == "__main__":
    main()
