"""What drawing many samplers in one pass saves: seconds and evaluations against each sampler alone, in the same run.

Run: python tests/bench/shared_prefixes.py [--steps 18] [--every 8]
The samplers are every n-th of the different ones in P3's Table 5, on an untrained network of the digits recipe's size.
Images are compared bit for bit on the way.
"""

import argparse
import itertools
import json
import time

import torch
from torch import Tensor

from engine.build import build_denoiser, build_network
from engine.model_spec import DdpmPlusPlus
from engine.objective_spec import EdmObjective
from engine.playbook import S_CHURN, S_NOISE, S_TMAX, S_TMIN
from engine.samplers import EdmStochastic, Heun, SamplerBase
from engine.samplers.shared import shared_evaluations
from engine.sampling import draw, draw_shared
from engine.spec import Data, Evaluation, Experiment
from engine.train_spec import Train

BATCH_SIZE = 64


def distinct_samplers(num_steps: int) -> list[SamplerBase]:
    """The different samplers among the 13,068 points of Table 5."""
    found: dict[str, SamplerBase] = {}
    for churn, low, high, noise in itertools.product(S_CHURN, S_TMIN, S_TMAX, S_NOISE):
        sampler = EdmStochastic(num_steps=num_steps, s_churn=churn, s_tmin=low, s_tmax=high, s_noise=noise)
        found.setdefault(json.dumps(sampler.canonical().form, sort_keys=True), sampler)
    return list(found.values())


def experiment() -> Experiment:
    """The digits recipe's network and protocol."""
    model = DdpmPlusPlus(channels=24, channel_mult=(1, 2), num_blocks=1, attention_resolutions=(4,))
    train = Train(total_kimg=1, snapshot_kimg=1)
    protocol = Evaluation(num_samples=BATCH_SIZE, batch_size=BATCH_SIZE)
    sections = {"model": model, "objective": EdmObjective(), "train": train, "eval": protocol}
    return Experiment(data=Data(name="digits"), sample=Heun(num_steps=18), **sections)


def main() -> None:
    """Draw one batch both ways and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=18, help="steps of every sampler (18)")
    parser.add_argument("--every", type=int, default=8, help="take every n-th sampler (8)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    subject = experiment()
    denoiser = build_denoiser(subject, build_network(subject))
    samplers = distinct_samplers(arguments.steps)[:: arguments.every]
    protocol = {"seed": 0, "batch_size": BATCH_SIZE}
    draw(denoiser, subject, samplers[0], count=BATCH_SIZE, **protocol)  # warm up

    together: dict[int, Tensor] = {}
    began = time.perf_counter()
    draw_shared(
        denoiser,
        subject,
        samplers,
        indices=torch.arange(BATCH_SIZE),
        emit=lambda number, chunk, images: together.__setitem__(number, images),
        **protocol,
    )
    shared = time.perf_counter() - began
    began = time.perf_counter()
    alone = [draw(denoiser, subject, sampler, count=BATCH_SIZE, **protocol) for sampler in samplers]
    apart = time.perf_counter() - began
    assert all(torch.equal(images, together[number]) for number, images in enumerate(alone)), "images differ"
    each, all_at_once = sum(sampler.nfe for sampler in samplers), shared_evaluations(samplers)
    print(f"{len(samplers)} samplers of {arguments.steps} steps, {BATCH_SIZE} images each, equal bit for bit")
    print(f"seconds      alone {apart:8.1f}  together {shared:8.1f}  ratio {apart / shared:.2f}")
    print(f"evaluations  alone {each:8,}  together {all_at_once:8,}  ratio {each / all_at_once:.2f}")


if __name__ == "__main__":
    main()
