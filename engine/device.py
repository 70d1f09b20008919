"""The device that numbers of a store are computed on, and how exactly."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def worker_device() -> "torch.device":
    """This process's GPU if it was given one, else the CPU;
    from then on its arithmetic repeats and is not cut short.

    Numbers that are kept in the store must not depend on which command measured them.
    """
    import torch

    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False  # as EDM measures; matrix products are full precision by default
    return torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")
