"""The one batch shape at which a network is evaluated: what does not fill a batch is repeated until it does.

A network rounds differently at other batch shapes.
At one shape an image has the same bits however the work is split.
"""

import torch
from torch import Tensor


def repeated(values: Tensor, count: int) -> Tensor:
    """The rows of `values` again and again until there are `count`."""
    return values if len(values) == count else values[torch.arange(count, device=values.device) % len(values)]
