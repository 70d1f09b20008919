"""A multilayer perceptron over flattened images, for
points in the plane and other toys [companion text 004]."""

import torch.nn.functional as F
from torch import Tensor, nn

from engine.backbones.mlp.config import Mlp, image_size
from engine.backbones.shape import NetShape
from engine.backbones.shared.checkpointing import Blocks
from engine.backbones.shared.conditions import Conditions
from engine.backbones.shared.layers import xavier_init, zero_init


class ResidualBlock(nn.Module):
    """Norm, linear, shift by the embedding, SiLU, linear, added to the input; at first the identity."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear0 = xavier_init(nn.Linear(width, width))
        self.affine = xavier_init(nn.Linear(width, width))
        self.dropout = nn.Dropout(dropout)
        self.linear1 = zero_init(nn.Linear(width, width))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """[B, D] to the same shape; `embedding` is [B, D]."""
        # The norm is computed in fp32 whatever the precision.
        h = F.silu(self.linear0(self.norm(x.float())) + self.affine(embedding))
        added: Tensor = self.linear1(self.dropout(h))
        return x + added


class MlpNet(Blocks):
    """A linear layer, residual blocks, a norm and a last linear layer, which starts at zero.

    Points in the plane are images [B, 2, 1, 1].
    """

    def __init__(self, config: Mlp, shape: NetShape) -> None:
        super().__init__()
        width = config.features
        self.out_channels = shape.out_channels
        self.conditions = Conditions(config, shape, width)
        self.first = xavier_init(nn.Linear(image_size(shape, shape.in_channels), width))
        self.blocks = nn.ModuleList(ResidualBlock(width, config.dropout) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width)
        self.last = zero_init(nn.Linear(width, image_size(shape, shape.out_channels)))

    def forward(
        self, x: Tensor, c_noise: Tensor, label: Tensor | None = None, augment: Tensor | None = None
    ) -> Tensor:
        """Output [B, out_channels, H, W] for images `x` [B, C, H, W];
        the other arguments are those of `Conditions`."""
        embedding = F.silu(self.conditions(c_noise, label, augment)[0])
        h = self.first(x.flatten(1))
        for block in self.blocks:
            h = self.run(block, h, embedding)
        output: Tensor = self.last(self.norm(h.float()))
        return output.reshape(len(x), self.out_channels, *x.shape[2:])
