"""Where blocks, attention and skips stand, and which widths and resolutions fit."""

import pytest

from engine.backbones.adm.config import Adm
from engine.backbones.ddpmpp.config import DdpmPlusPlus
from engine.backbones.ncsnpp.config import NcsnPlusPlus
from engine.backbones.shape import NetShape
from engine.backbones.unet.config import UNet
from engine.backbones.unets.layout import Block, network_width, unet_layout

UNEVEN = DdpmPlusPlus(channel_mult=(1, 2, 2), num_blocks=(4, 8, 4))
"""The capacity of (1, 2, 2, 2)'s lowest level moved two levels up [playbook 2.5]."""


def attention_sizes(blocks):
    return [block.resolution for block in blocks if block.attention]


@pytest.mark.parametrize("model", [DdpmPlusPlus(), NcsnPlusPlus()])
def test_edms_nets_for_cifar10_attend_in_every_encoder_block_and_only_the_last_decoder_block_at_16(model):
    layout = unet_layout(model, NetShape(resolution=32, in_channels=3, num_classes=10))
    assert attention_sizes(layout.encoder) == [16] * 4
    decoder_at_16 = [b.attention for b in layout.decoder if b.resolution == 16 and b.resampling == "keep"]
    assert decoder_at_16 == [False] * 4 + [True]
    assert attention_sizes(layout.decoder) == [16]


@pytest.mark.parametrize("model", [UNet(), Adm(attention_resolutions=(16, 8))])
def test_iddpm_and_adm_attend_in_every_block_of_their_attention_resolutions(model):
    layout = unet_layout(model, NetShape(resolution=64, in_channels=3, num_classes=10))
    assert attention_sizes(layout.encoder) == [16] * 3 + [8] * 3
    assert attention_sizes(layout.decoder) == [8] * 4 + [16] * 4


@pytest.mark.parametrize(
    "model", [kind(attention_resolutions=()) for kind in (DdpmPlusPlus, NcsnPlusPlus, Adm, UNet)]
)
def test_the_first_middle_block_always_attends(model):
    layout = unet_layout(model, NetShape(resolution=64, in_channels=3, num_classes=10))
    assert [block.attention for block in layout.middle] == [True, False]


@pytest.mark.parametrize(
    "model", [DdpmPlusPlus(), NcsnPlusPlus(), Adm(), UNet(), UNet(channel_mult=(3, 1), num_blocks=1), UNEVEN]
)
def test_the_decoder_takes_every_skip_once_and_ends_at_image_size(model):
    layout = unet_layout(model, NetShape(resolution=64, in_channels=3, num_classes=10))
    waiting = [layout.width, *(block.out_channels for block in layout.encoder)]
    channels = layout.middle[-1].out_channels
    for block in layout.decoder:
        assert block.in_channels == channels + (waiting.pop() if block.resampling == "keep" else 0)
        channels = block.out_channels
    assert waiting == []
    assert layout.decoder[-1].resolution == 64


@pytest.mark.parametrize(
    ("kind", "model"),
    [("residual", DdpmPlusPlus()), ("residual", NcsnPlusPlus()), ("residual", Adm()), ("conv", UNet())],
)
def test_edms_nets_resample_in_residual_blocks_and_iddpm_in_convolutions(kind, model):
    layout = unet_layout(model, NetShape(resolution=64, in_channels=3, num_classes=10))
    resamplers = [b for b in (*layout.encoder, *layout.decoder) if b.resampling != "keep"]
    assert {block.kind for block in resamplers} == {kind}
    assert len(resamplers) == 2 * (len(model.channel_mult) - 1)


@pytest.mark.parametrize(("channels", "width"), [(64, 8), (96, 12), (128, 16), (192, 24), (8, 4), (72, 12)])
@pytest.mark.parametrize("kind", [DdpmPlusPlus, NcsnPlusPlus, Adm, UNet])
def test_a_divided_width_is_rounded_up_to_a_multiple_of_4(kind, channels, width):
    assert network_width(kind(channels=channels, width_divisor=8)) == width


def test_a_divided_unet_width_is_rounded_up_to_a_multiple_of_the_heads():
    assert network_width(UNet(channels=128, width_divisor=16, num_heads=3)) == 12


@pytest.mark.parametrize(
    "model", [DdpmPlusPlus(channels=130), Adm(channels=66), UNet(channels=128, num_heads=3)]
)
def test_an_undivided_width_is_never_changed_but_refused(model):
    with pytest.raises(ValueError, match=f"channels {model.channels} is no multiple of"):
        network_width(model)


def test_a_resolution_that_cannot_be_halved_is_refused_with_what_would_fit():
    with pytest.raises(ValueError, match="28 pixels can be halved only 2 times: use at most 3 levels"):
        unet_layout(
            DdpmPlusPlus(channel_mult=(1, 2, 2, 2)), NetShape(resolution=28, in_channels=1, num_classes=10)
        )


def test_28_pixels_allow_three_levels_down_to_7():
    layout = unet_layout(DdpmPlusPlus(), NetShape(resolution=28, in_channels=1, num_classes=10))
    assert [block.resolution for block in layout.middle] == [7, 7]


def test_each_level_may_have_its_own_number_of_blocks_and_one_more_on_the_way_up():
    layout = unet_layout(UNEVEN, NetShape(resolution=32, in_channels=3, num_classes=10))
    down = [block.resolution for block in layout.encoder if block.resampling == "keep"]
    up = [block.resolution for block in layout.decoder if block.resampling == "keep"]
    assert down == [32] * 4 + [16] * 8 + [8] * 4
    assert up == [8] * 5 + [16] * 9 + [32] * 5


@pytest.mark.parametrize(
    ("channels", "divisor", "heads"),
    [(192, 1, 3), (768, 1, 12), (96, 1, 1), (288, 1, 4), (24, 8, 3), (16, 8, 2), (4, 8, 1)],
)
def test_adms_heads_have_64_channels_or_the_fewest_above_that_divide_them(channels, divisor, heads):
    assert Adm(width_divisor=divisor).heads(channels) == heads


def test_a_smoke_run_of_adm_keeps_its_numbers_of_heads():
    shape = NetShape(resolution=64, in_channels=3, num_classes=10)
    whole, small = (unet_layout(Adm(width_divisor=divisor), shape) for divisor in (1, 8))
    assert [block.heads for block in whole.blocks] == [block.heads for block in small.blocks]
    assert {block.heads for block in whole.blocks} == {0, 6, 9, 12}


def test_ncsnpp_joins_every_halved_level_to_the_image_and_then_to_the_level_before():
    model = NcsnPlusPlus(channel_mult=(1, 2, 3))
    layout = unet_layout(model, NetShape(resolution=32, in_channels=3, num_classes=10))
    joined = [(block.resampling, block.image_channels, block.out_channels) for block in layout.blocks]
    assert [entry for entry in joined if entry[1]] == [("halve", 3, 128), ("halve", 128, 256)]


def test_only_adm_leaves_a_resampled_skip_of_equal_channels_without_weights():
    shape = NetShape(resolution=64, in_channels=3, num_classes=10)
    for model in (DdpmPlusPlus(), NcsnPlusPlus(), Adm()):
        resamplers = [block for block in unet_layout(model, shape).blocks if block.resampling != "keep"]
        assert {block.projects_skip for block in resamplers} == {not isinstance(model, Adm)}


def test_a_block_describes_itself():
    assert Block("residual", 128, 256, 16, heads=4).words == "128 to 256 at 16x16, attention"
    assert Block("conv", 128, 128, 8, "halve").words == "128 to 128 at 8x8, halves"
    assert (
        Block("residual", 64, 64, 8, "halve", image_channels=3).words
        == "64 to 64 at 8x8, halves, joins the image"
    )
    assert Block("residual", 64, 64, 8, "double").words == "64 to 64 at 8x8, doubles"
