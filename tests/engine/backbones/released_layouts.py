"""Weights of the released programs, renamed and reordered for our networks. For tests alone.

Each function takes a program's state dict and gives ours. What differs is the layout, never a number:

- EDM names blocks by their resolution; the rows of its qkv are (head, channel, [q, k, v]), ours ([q, k, v], head,
  channel).
- improved-diffusion numbers the items of three lists, an item being a residual block, perhaps its attention and perhaps
  a resampling; the rows of its qkv are (head, [q, k, v], channel), and attention is a convolution in one dimension.
- DiT keeps the row of "no label" at the end of its table, ours is the first; its patches are made by a convolution.
"""

from collections.abc import Iterator

from torch import Tensor

from engine.backbones.shape import NetShape
from engine.backbones.unets.layout import Block, Layout, unet_layout
from engine.backbones.unets.settings import UNetSettings

Weights = dict[str, Tensor]

EDM_LAYERS = ("norm0", "conv0", "affine", "norm1", "conv1")
IDDPM_LAYERS = {
    "norm0": "in_layers.0",
    "conv0": "in_layers.2",
    "affine": "emb_layers.1",
    "norm1": "out_layers.0",
    "conv1": "out_layers.3",
}
ROUTERS = {
    "head_router": "attn_rate.router",
    "group_router": "mlp_rate.router",
    "token_router.0": "token_selection.mlp_head.0",
    "token_router.2": "token_selection.mlp_head.2",
}


def edm_unet(released: Weights, model: UNetSettings, shape: NetShape) -> Weights:
    """EDM's SongUNet and DhariwalUNet."""
    layout = unet_layout(model, shape)
    song = any("aux_norm" in name for name in released)
    size = f"{shape.resolution}x{shape.resolution}"
    ours: Weights = {}
    copy(released, ours, f"enc.{size}_conv", "trunk.first")
    copy(released, ours, "map_layer0", "map0")
    copy(released, ours, "map_layer1", "map1")
    copy(released, ours, f"dec.{size}_aux_norm" if song else "out_norm", "norm")
    copy(released, ours, f"dec.{size}_aux_conv" if song else "out_conv", "last")
    for part in ("map_label", "map_augment"):
        if f"{part}.weight" in released:
            copy(released, ours, part, part)
    if "map_noise.freqs" in released:
        ours["frequencies"] = released["map_noise.freqs"]
    images = 0
    for block, theirs, place in edm_places(layout):
        for layer in EDM_LAYERS:
            copy(released, ours, f"{theirs}.{layer}", f"{place}.{layer}")
        if block.projects_skip:
            copy(released, ours, f"{theirs}.skip", f"{place}.skip")
        if block.attention:
            copy(released, ours, f"{theirs}.norm2", f"{place}.attention.norm")
            copy(released, ours, f"{theirs}.proj", f"{place}.attention.proj")
            for kind in ("weight", "bias"):
                rows = released[f"{theirs}.qkv.{kind}"]
                by_part = rows.unflatten(0, (block.heads, -1, 3)).movedim(2, 0).flatten(0, 2)
                ours[f"{place}.attention.qkv.{kind}"] = by_part
        if block.image_channels:
            residual = theirs.replace("_down", "_aux_residual")
            copy(released, ours, residual, f"trunk.image_path.{images}.conv")
            images += 1
    return ours


def edm_places(layout: Layout) -> Iterator[tuple[Block, str, str]]:
    """Every block, its name in EDM's code, and in ours."""
    for way, blocks in (("enc", layout.encoder), ("dec", layout.decoder)):
        number, size = 0, layout.blocks[0].resolution if way == "enc" else layout.middle[0].resolution
        for index, block in enumerate(blocks):
            if block.resolution != size:
                size, number = block.resolution, 0
                name = {"halve": "down", "double": "up"}[block.resampling]
            else:
                name, number = f"block{number}", number + 1
            ours = "encoder" if way == "enc" else "decoder"
            yield block, f"{way}.{size}x{size}_{name}", f"trunk.{ours}.{index}"
    for index, block in enumerate(layout.middle):
        yield block, f"dec.{block.resolution}x{block.resolution}_in{index}", f"trunk.middle.{index}"


def iddpm_unet(released: Weights, model: UNetSettings, shape: NetShape) -> Weights:
    """improved-diffusion's UNetModel."""
    layout = unet_layout(model, shape)
    ours: Weights = {}
    copy(released, ours, "time_embed.0", "map0")
    copy(released, ours, "time_embed.2", "map1")
    copy(released, ours, "input_blocks.0.0", "trunk.first")
    copy(released, ours, "out.0", "norm")
    copy(released, ours, "out.2", "last")
    if "label_emb.weight" in released:
        copy(released, ours, "label_emb", "map_label")
    for block, theirs, place in iddpm_places(layout):
        if block.kind == "conv":
            copy(released, ours, theirs, f"{place}.conv")
            continue
        for layer, name in IDDPM_LAYERS.items():
            copy(released, ours, f"{theirs}.{name}", f"{place}.{layer}")
        if block.projects_skip:
            copy(released, ours, f"{theirs}.skip_connection", f"{place}.skip")
        if block.attention:
            item, position = theirs.rsplit(".", 1)
            attention = f"{item}.{int(position) + 1}"
            copy(released, ours, f"{attention}.norm", f"{place}.attention.norm")
            ours[f"{place}.attention.proj.weight"] = released[f"{attention}.proj_out.weight"][..., None]
            ours[f"{place}.attention.proj.bias"] = released[f"{attention}.proj_out.bias"]
            for kind in ("weight", "bias"):
                rows = released[f"{attention}.qkv.{kind}"].unflatten(0, (block.heads, 3, -1))
                by_part = rows.transpose(0, 1).flatten(0, 2)
                ours[f"{place}.attention.qkv.{kind}"] = by_part[..., None] if kind == "weight" else by_part
    return ours


def iddpm_places(layout: Layout) -> Iterator[tuple[Block, str, str]]:
    """Every block, its name in improved-diffusion's code, and in ours."""
    for index, block in enumerate(layout.encoder):
        part = "op" if block.kind == "conv" else ""
        yield block, f"input_blocks.{index + 1}.0{part and '.' + part}", f"trunk.encoder.{index}"
    for index, block in enumerate(layout.middle):
        yield block, f"middle_block.{2 * index}", f"trunk.middle.{index}"
    item = -1
    for index, block in enumerate(layout.decoder):
        if block.kind == "conv":
            # The last item of a level also doubles the image, after its attention where it has one.
            position = 2 if layout.decoder[index - 1].attention else 1
            yield block, f"output_blocks.{item}.{position}.conv", f"trunk.decoder.{index}"
        else:
            item += 1
            yield block, f"output_blocks.{item}.0", f"trunk.decoder.{index}"


def dit(released: Weights) -> Weights:
    """DiT and DyDiT. Positions, which are fixed, are left out."""
    ours: Weights = {}
    copy(released, ours, "t_embedder.mlp.0", "conditions.noise0")
    copy(released, ours, "t_embedder.mlp.2", "conditions.noise1")
    ours["conditions.label.weight"] = released["y_embedder.embedding_table.weight"].roll(1, 0)
    ours["patches.weight"] = released["x_embedder.proj.weight"].flatten(1)
    ours["patches.bias"] = released["x_embedder.proj.bias"]
    copy(released, ours, "final_layer.adaLN_modulation.1", "modulation")
    copy(released, ours, "final_layer.linear", "last")
    depth = sum(name.endswith("attn.qkv.weight") for name in released)
    for number in range(depth):
        theirs = place = f"blocks.{number}"
        copy(released, ours, f"{theirs}.adaLN_modulation.1", f"{place}.modulation")
        copy(released, ours, f"{theirs}.attn.qkv", f"{place}.attention.qkv")
        copy(released, ours, f"{theirs}.attn.proj", f"{place}.attention.proj")
        copy(released, ours, f"{theirs}.mlp.fc1", f"{place}.widen")
        copy(released, ours, f"{theirs}.mlp.fc2", f"{place}.narrow")
        for router, name in ROUTERS.items():
            if f"{theirs}.{name}.weight" in released:
                copy(released, ours, f"{theirs}.{name}", f"{place}.{router}")
    return ours


def copy(released: Weights, ours: Weights, theirs: str, place: str) -> None:
    """The weight of one layer, and its bias where it has one."""
    ours[f"{place}.weight"] = released[f"{theirs}.weight"]
    if f"{theirs}.bias" in released:
        ours[f"{place}.bias"] = released[f"{theirs}.bias"]
