"""Where blocks, attention and skips stand, and which widths and resolutions fit."""

import pytest

from engine.backbones.layout import network_width, unet_layout
from engine.spec import DdpmPlusPlus, UNet


def attention_sizes(blocks):
    return [block.resolution for block in blocks if block.attention]


def test_ddpmpp_attends_in_every_encoder_block_and_only_the_last_decoder_block_at_16():
    layout = unet_layout(DdpmPlusPlus(), resolution=32, in_channels=3, num_classes=10)
    assert attention_sizes(layout.encoder) == [16] * 4
    decoder_at_16 = [b.attention for b in layout.decoder if b.resolution == 16 and b.resampling == "keep"]
    assert decoder_at_16 == [False] * 4 + [True]
    assert attention_sizes(layout.decoder) == [16]


def test_unet_attends_in_every_block_of_its_attention_resolutions():
    layout = unet_layout(UNet(), resolution=64, in_channels=3, num_classes=10)
    assert attention_sizes(layout.encoder) == [16] * 3 + [8] * 3
    assert attention_sizes(layout.decoder) == [8] * 4 + [16] * 4


@pytest.mark.parametrize("model", [DdpmPlusPlus(attention_resolutions=()), UNet(attention_resolutions=())])
def test_the_first_middle_block_always_attends(model):
    layout = unet_layout(model, resolution=64, in_channels=3, num_classes=10)
    assert [block.attention for block in layout.middle] == [True, False]


@pytest.mark.parametrize("model", [DdpmPlusPlus(), UNet(), UNet(channel_mult=(3, 1), num_blocks=1)])
def test_the_decoder_takes_every_skip_once_and_ends_at_image_size(model):
    layout = unet_layout(model, resolution=64, in_channels=3, num_classes=10)
    waiting = [layout.width, *(block.out_channels for block in layout.encoder)]
    channels = layout.middle[-1].out_channels
    for block in layout.decoder:
        assert block.in_channels == channels + (waiting.pop() if block.resampling == "keep" else 0)
        channels = block.out_channels
    assert waiting == []
    assert layout.decoder[-1].resolution == 64


@pytest.mark.parametrize(("kind", "model"), [("residual", DdpmPlusPlus()), ("conv", UNet())])
def test_ddpmpp_resamples_in_residual_blocks_and_iddpm_in_convolutions(kind, model):
    layout = unet_layout(model, resolution=64, in_channels=3, num_classes=10)
    resamplers = [b for b in (*layout.encoder, *layout.decoder) if b.resampling != "keep"]
    assert {block.kind for block in resamplers} == {kind}
    assert len(resamplers) == 2 * (len(model.channel_mult) - 1)


@pytest.mark.parametrize(("channels", "width"), [(64, 8), (96, 12), (128, 16), (192, 24), (8, 4), (72, 12)])
def test_a_divided_width_is_rounded_up_to_a_multiple_of_4(channels, width):
    assert network_width(DdpmPlusPlus(channels=channels, width_divisor=8)) == width


def test_a_divided_unet_width_is_rounded_up_to_a_multiple_of_the_heads():
    assert network_width(UNet(channels=128, width_divisor=16, num_heads=3)) == 12


@pytest.mark.parametrize("model", [DdpmPlusPlus(channels=130), UNet(channels=128, num_heads=3)])
def test_an_undivided_width_is_never_changed_but_refused(model):
    with pytest.raises(ValueError, match=f"channels {model.channels} is no multiple of"):
        network_width(model)


def test_a_resolution_that_cannot_be_halved_is_refused_with_what_would_fit():
    with pytest.raises(ValueError, match="28 pixels can be halved only 2 times: use at most 3 levels"):
        unet_layout(DdpmPlusPlus(channel_mult=(1, 2, 2, 2)), resolution=28, in_channels=1, num_classes=10)


def test_28_pixels_allow_three_levels_down_to_7():
    layout = unet_layout(DdpmPlusPlus(), resolution=28, in_channels=1, num_classes=10)
    assert [block.resolution for block in layout.middle] == [7, 7]
