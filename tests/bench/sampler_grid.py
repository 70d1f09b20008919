"""What a grid of samplers costs in one pass:
seconds and evaluations against each sampler alone, in the same run.

Run: python tests/bench/sampler_grid.py [--steps 18] [--cases 1x16 8x64 859x64 ...] [--alone 20] A case is
CELLSxIMAGES: cells drawn at random from the different ones in P3's Table 5, on an untrained network of the
digits recipe's size and at its batch of 64. `--alone` cells are run one by one, and the cost of more is
scaled from theirs; all that are run both ways are compared bit for bit. Where a case has every different
cell, a second line says what a naive loop over all 13,068 points would take, scaled in the same way. Beside
the ratios stand the shares of a pass not spent in the denoiser D, which a sampler alone needs as well, and
not in the network; then the median of a network call in the pass and of a bare one just before, in ms. All
seconds are the process's own on one core, which other work disturbs little.
"""

import argparse
import itertools
import json
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import torch
from torch import Tensor

from engine.backbones.ddpmpp.config import DdpmPlusPlus
from engine.build import build_denoiser, build_network
from engine.config.experiment import Data, EvaluationProtocol, Experiment
from engine.config.train import Train
from engine.denoiser import Denoiser
from engine.objectives.edm import EdmObjective
from engine.samplers.base import SamplerBase
from engine.samplers.edm_stochastic import S_CHURN, S_NOISE, S_TMAX, S_TMIN, EdmStochastic
from engine.samplers.heun import Heun
from engine.sampling.generate import generate_images, generate_images_shared
from engine.sampling.prefix_sharing import shared_evaluations

BATCH_SIZE, SEED, BARE_CALLS = 64, 0, 15
CASES = ["1x16", "8x16", "64x16", "859x16", "1x64", "8x64", "64x64", "859x64"]
POINTS = len(S_CHURN) * len(S_TMIN) * len(S_TMAX) * len(S_NOISE)


def distinct_samplers(num_steps: int) -> list[SamplerBase]:
    """The different samplers among the 13,068 points of Table 5, in a random order."""
    found: dict[str, SamplerBase] = {}
    for churn, low, high, noise in itertools.product(S_CHURN, S_TMIN, S_TMAX, S_NOISE):
        sampler = EdmStochastic(num_steps=num_steps, s_churn=churn, s_tmin=low, s_tmax=high, s_noise=noise)
        found.setdefault(json.dumps(sampler.canonical().form, sort_keys=True), sampler)
    return random.Random(SEED).sample(list(found.values()), len(found))


def experiment() -> Experiment:
    """The digits recipe's network and protocol."""
    model = DdpmPlusPlus(channels=24, channel_mult=(1, 2), num_blocks=1, attention_resolutions=(4,))
    train = Train(total_kimg=1, snapshot_kimg=1)
    protocol = EvaluationProtocol(num_samples=BATCH_SIZE, batch_size=BATCH_SIZE)
    sections = {"model": model, "objective": EdmObjective(), "train": train, "eval": protocol}
    return Experiment(data=Data(name="digits"), sample=Heun(num_steps=18), **sections)


@contextmanager
def timed(net: torch.nn.Module) -> Iterator[list[float]]:
    """Collect the seconds of each call of a network."""
    began, seconds = list[float](), list[float]()
    hooks = [
        net.register_forward_pre_hook(lambda *_: began.append(time.process_time())),
        net.register_forward_hook(lambda *_: seconds.append(time.process_time() - began[-1])),
    ]
    yield seconds
    for hook in hooks:
        hook.remove()


@torch.inference_mode()
def bare_calls(denoiser: Denoiser) -> list[float]:
    """Seconds of calls of the network and nothing else, at the protocol's batch."""
    x, c_noise = torch.ones(BATCH_SIZE, 1, 8, 8), torch.ones(BATCH_SIZE)
    with timed(denoiser.net) as seconds:
        for _ in range(BARE_CALLS):
            denoiser.net(x, c_noise, None, None)
    return seconds


def draw_pass(
    subject: Experiment, denoiser: Denoiser, samplers: list[SamplerBase], count: int
) -> dict[int, Tensor]:
    """Images of all samplers by their place in the list, from one pass."""
    images: dict[int, Tensor] = {}
    generate_images_shared(
        denoiser,
        subject,
        samplers,
        indices=torch.arange(count),
        seed=SEED,
        batch_size=BATCH_SIZE,
        emit=lambda number, chunk, found: images.__setitem__(number, found),
    )
    return images


def main() -> None:
    """Draw some cells alone, then every case in one pass, and print the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=18, help="steps of every sampler (18)")
    parser.add_argument("--cases", nargs="+", default=CASES, help="CELLSxIMAGES, at most 64 images")
    parser.add_argument("--alone", type=int, default=20, help="cells to run one by one (20)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    subject, everything = experiment(), distinct_samplers(arguments.steps)
    denoiser = build_denoiser(subject, build_network(subject))
    bare_calls(denoiser)  # warm up

    chosen, began = everything[: arguments.alone], time.process_time()
    alone = [
        generate_images(denoiser, subject, one, count=BATCH_SIZE, seed=SEED, batch_size=BATCH_SIZE)
        for one in chosen
    ]
    call = (time.process_time() - began) / sum(sampler.nfe for sampler in chosen)
    print(f"{len(chosen)} cells alone: {1e3 * call:.1f} ms an evaluation of {BATCH_SIZE} images")
    print(
        "cells images | seconds alone  pass  ratio | evaluations "
        "alone  pass  ratio | outside: D   net |  call  bare"
    )
    for cells, count in (map(int, case.split("x")) for case in arguments.cases):
        samplers, bare = everything[:cells], median(bare_calls(denoiser))
        denoiser.nfe, began = 0, time.process_time()
        with timed(denoiser) as asked, timed(denoiser.net) as calls:
            images = draw_pass(subject, denoiser, samplers, count)
        seconds, each = time.process_time() - began, sum(sampler.nfe for sampler in samplers)
        both = range(min(cells, len(alone)))
        assert all(torch.equal(images[number], alone[number][:count]) for number in both), "images differ"
        assert denoiser.nfe <= shared_evaluations(samplers)
        print(
            f"{cells:5} {count:6} | {each * call:13.1f} {seconds:5.1f} {each * call / seconds:6.2f} "
            f"| {each:17,} {denoiser.nfe:5,} {each / denoiser.nfe:6.2f} "
            f"| {1 - sum(asked) / seconds:10.1%} {1 - sum(calls) / seconds:5.1%} "
            f"| {1e3 * median(calls):5.1f} {1e3 * bare:5.1f}",
            flush=True,
        )
        if cells == len(everything):
            naive, evaluations = POINTS * samplers[0].nfe * call, POINTS * samplers[0].nfe
            print(
                f"{POINTS:5,} points | {naive:13,.1f} {seconds:5.1f} {naive / seconds:6.2f} "
                f"| {evaluations:17,} {denoiser.nfe:5,} {evaluations / denoiser.nfe:6.2f}"
            )


if __name__ == "__main__":
    main()
