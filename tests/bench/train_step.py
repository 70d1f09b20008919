"""What a training step costs with each network, plain against faster or smaller settings:
images a second and memory.

Run: python tests/bench/train_step.py [--published] [--device
cuda] [--compile default] [--kinds unet dit] [--batch 16]

A step is forward, backward, optimizer and average, as training runs it, on 32x32 colour images of random
bytes. All settings of a network take their steps in turn in one run, so that ratios mean something; the
fastest of each counts. On a GPU layers run in bf16 and --compile is `default` unless told otherwise. On a
CPU, where making the kernels of one network takes minutes, it is `off`. Memory is what a step adds at its
peak on a GPU; on a CPU, what autograd keeps at the end of the forward pass, to which checkpointing later adds
the inside of one block. Nothing here is asserted.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from engine.backbones.adm.config import Adm
from engine.backbones.ddpmpp.config import DdpmPlusPlus
from engine.backbones.dit.config import Dit
from engine.backbones.dydit.config import DyDit
from engine.backbones.mlp.config import Mlp
from engine.backbones.ncsnpp.config import NcsnPlusPlus
from engine.backbones.registry import Model
from engine.backbones.unet.config import UNet
from engine.config.experiment import Data, EvaluationProtocol, Experiment
from engine.config.train import Compile, Train
from engine.data.datasets import ImageSet
from engine.files import LocalFiles
from engine.objectives.edm import EdmObjective
from engine.samplers.heun import Heun
from engine.training.start import starting_state
from engine.training.step import TrainingStep, World

PUBLISHED: dict[str, Model] = {
    "ddpmpp": DdpmPlusPlus(),
    "ncsnpp": NcsnPlusPlus(),
    "adm": Adm(),
    "unet": UNet(channel_mult=(1, 2, 2, 2)),
    "dit": Dit(),
    "dydit": DyDit(),
    "mlp": Mlp(),
}
"""CIFAR-10's U-Nets, ADM and the transformers of size S at 32x32 pixels."""

SMALL: dict[str, Model] = {
    "ddpmpp": DdpmPlusPlus(channels=32, num_blocks=1),
    "ncsnpp": NcsnPlusPlus(channels=32, num_blocks=1),
    "adm": Adm(channels=32, num_blocks=1, head_channels=32, attention_resolutions=(16, 8)),
    "unet": UNet(channels=32, channel_mult=(1, 2, 2, 2), num_blocks=1),
    "dit": Dit(depth=4, width=192, num_heads=3),
    "dydit": DyDit(depth=4, width=192, num_heads=3),
    "mlp": Mlp(),
}
"""The same with narrower and fewer blocks."""


def random_images() -> ImageSet:
    """As many random images as a few steps show."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (256, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return ImageSet(images, torch.zeros(256, dtype=torch.int64), "random")


def make_step(
    model: Model, device: torch.device, batch: int, choice: Compile, checkpointing: bool
) -> TrainingStep:
    """A network at the beginning of a training with these settings."""
    precision = "bf16" if device.type == "cuda" else "fp32"
    settings = {"precision": precision, "compile": choice, "checkpointing": checkpointing}
    experiment = Experiment(
        data=Data(name="cifar10"),
        model=model,
        objective=EdmObjective(),
        train=Train.model_validate(
            {"batch_size": batch, "total_kimg": 1000, "snapshot_kimg": 1000, **settings}
        ),
        sample=Heun(num_steps=2),
        eval=EvaluationProtocol(num_samples=batch, batch_size=batch),
    )
    with tempfile.TemporaryDirectory() as folder:
        state = starting_state(experiment, LocalFiles(Path(folder)), None, device)
    return TrainingStep(experiment, random_images(), state, World(0, 1), device)


def seconds(step: TrainingStep) -> float:
    """How long one step takes."""
    started = time.perf_counter()
    step()
    if step.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def mebibytes(step: TrainingStep) -> float:
    """Memory of one step, as the heading of this file says."""
    if step.device.type == "cuda":
        step.state.optimizer.zero_grad(set_to_none=True)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    parameters = {parameter.untyped_storage().data_ptr() for parameter in step.params}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        step.losses(torch.arange(step.experiment.train.batch_size))
    return (
        sum(tensor.untyped_storage().nbytes() for data, tensor in kept.items() if data not in parameters)
        / 2**20
    )


def compare(name: str, model: Model, device: torch.device, batch: int, choice: Compile, repeats: int) -> None:
    """Print a line for each setting of one network, with ratios to the plain one."""
    settings: dict[str, tuple[Compile, bool]] = {"plain": ("off", False), "checkpointing": ("off", True)}
    if choice != "off":
        settings[f"compile {choice}"] = (choice, False)
    steps = {words: make_step(model, device, batch, *chosen) for words, chosen in settings.items()}
    first = {words: seconds(step) for words, step in steps.items()}
    times = {words: min(runs) for words, runs in in_turn(steps, repeats).items()}
    memory = {words: mebibytes(step) for words, step in steps.items()}
    params = sum(parameter.numel() for parameter in steps["plain"].params) / 1e6
    for words in settings:
        speed, size = times["plain"] / times[words], memory[words] / memory["plain"]
        print(
            f"{name:8} {params:7.2f} {words:16} {batch / times[words]:9.1f} {speed:9.2f} "
            f"{memory[words]:9.1f} {size:9.2f} {first[words]:9.1f}",
            flush=True,
        )


def in_turn(steps: dict[str, TrainingStep], repeats: int) -> dict[str, list[float]]:
    """Seconds of every step of every setting, one setting
    after the other, after one step that nobody times."""
    rounds = [{words: seconds(step) for words, step in steps.items()} for _ in range(repeats + 1)][1:]
    return {words: [times[words] for times in rounds] for words in steps}


def main() -> None:
    """Measure the networks and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--published", action="store_true", help="published sizes instead of small ones")
    parser.add_argument("--device", default="cpu", help="cpu (one thread) or cuda")
    parser.add_argument("--compile", choices=("off", "default", "max"), help="off on a CPU, default on a GPU")
    parser.add_argument(
        "--kinds", nargs="+", choices=list(SMALL), default=list(SMALL), help="which networks (all)"
    )
    parser.add_argument("--batch", type=int, help="images a step (8 on a CPU, 64 on a GPU)")
    parser.add_argument("--repeats", type=int, default=3, help="timed steps of each setting (3)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(arguments.device)
    on_gpu = device.type == "cuda"
    batch = arguments.batch or (64 if on_gpu else 8)
    choice = arguments.compile or ("default" if on_gpu else "off")
    where = torch.cuda.get_device_name() + ", bf16" if on_gpu else "CPU, 1 thread, fp32"
    print(f"{where}, batch {batch}, 32x32x3")
    heads = ("images/s", "ratio", "step MiB" if on_gpu else "kept MiB", "ratio", "first s")
    print(f"{'network':8} {'M param':>7} {'setting':16}", *map("{:>9}".format, heads))
    for kind in arguments.kinds:
        compare(
            kind,
            (PUBLISHED if arguments.published else SMALL)[kind],
            device,
            batch,
            choice,
            arguments.repeats,
        )


if __name__ == "__main__":
    main()
