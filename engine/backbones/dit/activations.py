"""What autograd keeps of a transformer's forward pass for the backward pass, counted on paper.
Imports no torch.

`extra` is what each block keeps beside a DiT's: a DyDiT's products with its choices.
"""

from engine.backbones.base import FP32
from engine.backbones.dit.layout import DitLayout, dit_layout
from engine.backbones.dit.settings import TransformerSettings
from engine.backbones.shape import NetShape


def dit_activations(model: TransformerSettings, shape: NetShape, width: int, extra: int = 0) -> int:
    """Bytes kept by a network of so many bytes a number."""
    layout = dit_layout(model, shape)
    return _ends(layout, width) + layout.depth * (_block(model, layout, width) + extra)


def dit_checkpointed(model: TransformerSettings, shape: NetShape, width: int, extra: int = 0) -> int:
    """The same where only the blocks' inputs are kept, and the inside of one block.

    The positions, which are fp32, make the tokens so.
    """
    layout = dit_layout(model, shape)
    inputs = layout.depth * FP32 * layout.tokens * layout.width
    return _ends(layout, width) + _block(model, layout, width) + extra + inputs


def _ends(layout: DitLayout, width: int) -> int:
    """Patches before the blocks, norm and scale after them."""
    return width * layout.tokens * layout.patch_features + _modulated(layout, width)


def _block(model: TransformerSettings, layout: DitLayout, width: int) -> int:
    """Both norms; q, k, v, their mix and the softmax's sum for every row; the MLP around its activation; two
    gates; two masks of dropout, a byte a number."""
    attention = 4 * width * layout.width + FP32 * layout.num_heads
    mlp = 2 * width * layout.hidden_width
    gates = 2 * width * layout.width
    masks = 2 * layout.width if model.dropout > 0 else 0
    return 2 * _modulated(layout, width) + layout.tokens * (attention + mlp + gates + masks)


def _modulated(layout: DitLayout, width: int) -> int:
    """The norm keeps its input in fp32, the scale what it multiplies, the layer after them its input."""
    return (2 * FP32 + width) * layout.tokens * layout.width
