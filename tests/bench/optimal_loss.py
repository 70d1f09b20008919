"""What the exact optimal loss costs: its throughput beside
the matrix products alone, and how it grows with the data.

Run: python tests/bench/optimal_loss.py [--dims 784] [--points 1000,4000,16000,50000] [--draws 512] [--repeats
2] Two products in float64 are needed for each draw and point: of x with the points, and of their
probabilities with them. They are timed on the same matrices, already in float64; the estimator starts from
float32 points and does everything else. On one thread, in turns; the least processor time of each, as
neighbours on the machine only add to it.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from engine.metrics.posterior import BLOCK, draw, posterior


def products(x: Tensor, points: Tensor) -> None:
    """The two products alone, over the same blocks of points as the estimator's."""
    for block in points.split(max(1, BLOCK // points.shape[1])):
        (x @ block.T) @ block


def seconds(work: Callable[[], object]) -> float:
    """Processor time of one call."""
    began = time.process_time()
    work()
    return time.process_time() - began


def row(num_points: int, dims: int, num_draws: int, sigma: float, repeats: int) -> str:
    """One line of the table."""
    points = torch.rand(num_points, dims) * 2 - 1
    drawing = seconds(lambda: draw(points, sigma, 0, 0, torch.arange(num_draws)))
    draws = draw(points, sigma, 0, 0, torch.arange(num_draws))
    doubles = points.double()
    turns = [
        (seconds(lambda: products(draws.x, doubles)), seconds(lambda: posterior(draws, points)))
        for _ in range(repeats)
    ]
    alone, whole = (min(times) for times in zip(*turns, strict=True))
    flops = 4 * num_points * num_draws * dims
    return (
        f"{num_points:7} {sigma:6g} {drawing:8.2f} {alone:9.2f} {whole:10.2f} {alone / whole:8.2f} "
        f"{flops / whole / 1e9:8.1f} {1e9 * whole / num_points / num_draws:10.0f}"
    )


@torch.inference_mode()
def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dims", type=int, default=784, help="numbers of an image (784)")
    parser.add_argument("--points", default="1000,4000,16000,50000", help="sizes of the data set")
    parser.add_argument("--draws", type=int, default=512, help="draws (512)")
    parser.add_argument("--sigmas", default="0.5", help="noise levels (0.5)")
    parser.add_argument("--repeats", type=int, default=2, help="turns, of which the best is taken (2)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{arguments.draws} draws of {arguments.dims} dimensions, 1 thread; seconds")
    print(" points  sigma  drawing  products  estimator   share  GFLOP/s  ns a pair")
    for num_points in map(int, arguments.points.split(",")):
        for sigma in map(float, arguments.sigmas.split(",")):
            print(row(num_points, arguments.dims, arguments.draws, sigma, arguments.repeats), flush=True)


if __name__ == "__main__":
    main()
