"""torch.compile for training: one network's kernels fused,
and with `max` the fastest of many for this device."""

import torch
from torch import nn

from engine.backbones.network import compiled_parts
from engine.config.train import Compile

# Without CUDA graphs: those overwrite gradients of one microbatch by the next one's.
MODES = {"default": "default", "max": "max-autotune-no-cudagraphs"}


def compile_network(net: nn.Module, choice: Compile, device: torch.device) -> None:
    """Compile `net` in place for calls of the module;
    copies, names of weights and what they hold stay as they are.

    What is compiled draws dropout's random numbers in its own way, still keyed by torch's generator.
    Raises RuntimeError at once when torch.compile cannot work on `device`.
    """
    if choice == "off":
        return
    check_compiler(choice, device)
    for part in compiled_parts(net):
        part.compile(mode=MODES[choice], dynamic=False)


def check_compiler(choice: Compile, device: torch.device) -> None:
    """RuntimeError, in a line, unless torch.compile can make a kernel here;
    that takes seconds, a network minutes.

    One addition needs all that a network does: a C++ compiler for a CPU, Triton and a C compiler for a GPU,
    and Python's headers. What earlier trainings of this process compiled is forgotten: torch keeps a few
    networks alone.
    """
    torch.compiler.reset()
    try:
        torch.compile(lambda x: x + 1)(torch.zeros(1, device=device))
    except Exception as failure:
        reason = str(failure).partition("\n")[0]
        advice = "install what is missing or set train.compile: off"
        raise RuntimeError(
            f"train.compile: {choice} cannot work on {device.type} here ({reason}); {advice}"
        ) from None
