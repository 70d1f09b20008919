"""How much a network's output and the final images change,
by rounding alone, with the number of images in a batch.

Run: python tests/bench/batch_rounding.py [--shapes 1 8 64 128] [--images 64] [--steps 12] Networks of the
digits recipe's size with random weights, one thread, fp32. Every shape is compared with the protocol's batch
of 64: the largest difference of the network's raw output over noise levels, relative to the output's largest
value; the largest difference of final images in grey levels, and the share of bytes that differ.
"""

import argparse

import torch
from torch import Tensor

from engine.backbones.ddpmpp.config import DdpmPlusPlus
from engine.backbones.registry import Model
from engine.backbones.unet.config import UNet
from engine.build import build_denoiser, build_network
from engine.config.experiment import Data, EvaluationProtocol, Experiment
from engine.config.train import Train
from engine.denoiser import Denoiser
from engine.noise import Purpose, normal
from engine.objectives.edm import EdmObjective
from engine.samplers.edm_stochastic import EdmStochastic
from engine.sampling.generate import generate_images

PROTOCOL, SEED = 64, 0
LEVELS = (80.0, 2.5, 0.5, 0.01)
UNET = {"channels": 24, "channel_mult": (1, 2), "num_blocks": 1, "attention_resolutions": (4,)}
MODELS: list[Model] = [DdpmPlusPlus(**UNET), UNet(**UNET, num_heads=2)]


def subject(model: Model) -> tuple[Experiment, Denoiser]:
    """An experiment on digits and its network, whose weights
    are all random, also those that begin at zero."""
    sections = {"model": model, "objective": EdmObjective(), "train": Train(total_kimg=1, snapshot_kimg=1)}
    protocol = EvaluationProtocol(num_samples=PROTOCOL, batch_size=PROTOCOL)
    experiment = Experiment(
        data=Data(name="digits"), sample=EdmStochastic(num_steps=12), eval=protocol, **sections
    )
    net = build_network(experiment)
    torch.manual_seed(SEED)
    for weights in net.parameters():
        weights.data += 0.05 * torch.randn_like(weights)
    return experiment, build_denoiser(experiment, net).eval().requires_grad_(False)


@torch.inference_mode()
def outputs(denoiser: Denoiser, count: int, shape: int) -> Tensor:
    """The network's raw outputs for `count` images at every
    level, `shape` at a time, the last batch repeated."""
    noise, found = normal(SEED, Purpose.LATENT, torch.arange(count), (1, 8, 8)), []
    for sigma in LEVELS:
        for chunk in (sigma * noise).split(shape):
            full = chunk[torch.arange(shape) % len(chunk)]
            levels = torch.full((shape,), sigma, dtype=torch.float64)
            found.append(denoiser.output(full, levels, None).target[: len(chunk)])
    return torch.cat(found)


def main() -> None:
    """Print a line for each network and batch shape."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shapes", nargs="+", type=int, default=[1, 8, 64, 128], help="images in a batch")
    parser.add_argument("--images", type=int, default=64, help="images to compare (64)")
    parser.add_argument("--steps", type=int, default=12, help="steps of the sampler (12)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "network  batch | output: max |difference| / max "
        "|output| | images: max grey levels  bytes that differ"
    )
    for model in MODELS:
        experiment, denoiser = subject(model)
        sampler = EdmStochastic(num_steps=arguments.steps, s_churn=4)
        settings = {"count": arguments.images, "seed": SEED}
        expected = outputs(denoiser, arguments.images, PROTOCOL)
        drawn = generate_images(denoiser, experiment, sampler, batch_size=PROTOCOL, **settings).int()
        for shape in arguments.shapes:
            rounding = (
                outputs(denoiser, arguments.images, shape) - expected
            ).abs().max() / expected.abs().max()
            images = generate_images(denoiser, experiment, sampler, batch_size=shape, **settings).int()
            grey = (images - drawn).abs()
            print(
                f"{model.kind:7} {shape:6} | {float(rounding):35.2e} "
                f"| {int(grey.max()):23} {float((grey > 0).double().mean()):18.3%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
