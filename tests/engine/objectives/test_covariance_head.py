"""OCM's head beside every registered U-Net."""

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from engine.backbones.cost import Cost
from engine.backbones.flops import forward_cost
from engine.backbones.registry import BACKBONES, Model
from engine.backbones.shape import NetShape
from engine.backbones.unets.base import UNetBase
from engine.backbones.unets.layout import unet_layout
from engine.objectives.head import head_cost
from engine.objectives.losses.covariance_head import attach_head

IMAGES = {"resolution": 8, "in_channels": 3, "num_classes": 10}
UNETS = sorted(kind for kind in BACKBONES if issubclass(BACKBONES[kind], UNetBase))
every_unet = pytest.mark.parametrize("kind", UNETS)
every_head = pytest.mark.parametrize("head", ["simple", "complex", "released_complex"])


def backbone(kind, seed=0, **shape):
    """A smoke-sized backbone as after training, no weight zero, with dropout and augmentation labels."""
    size = {"channels": 64, "width_divisor": 8, "channel_mult": (2, 1), "num_blocks": 1, "dropout": 0.5}
    fields = {"kind": kind, **size, "attention_resolutions": (4,), "class_conditional": True}
    torch.manual_seed(seed)
    net = TypeAdapter(Model).validate_python(fields).build(NetShape(**IMAGES, augment_labels=9, **shape))
    return randomise(net)


def randomise(net):
    for parameter in net.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
    return net


def ocm_net(kind, head="simple", seed=0, **shape):
    return attach_head(backbone(kind, seed, **shape), head, in_channels=3)


def output_of(net, *args):
    """Both halves as one tensor."""
    return torch.cat(net(*args), dim=1)


def inputs():
    generator = torch.Generator().manual_seed(1)
    x, augment = torch.randn(4, 3, 8, 8, generator=generator), torch.randn(4, 9, generator=generator)
    return x, torch.linspace(-1.0, 1.0, 4), torch.arange(4), augment


@every_unet
def test_a_backbone_is_its_readout_of_its_features(kind):
    net = backbone(kind).eval()
    features = net.features(*inputs())
    assert features.shape == (4, net.feature_channels, 8, 8)
    assert torch.equal(net.readout(features), net(*inputs()))


@every_unet
@every_head
def test_the_first_half_is_the_backbones_output_and_the_second_starts_at_zero(kind, head):
    net = ocm_net(kind, head)
    target, h = net(*inputs())
    assert torch.equal(target, backbone(kind).eval()(*inputs()))
    assert h.shape == (4, 3, 8, 8)
    assert torch.equal(h, torch.zeros_like(h))


@every_unet
def test_a_backbone_with_a_learned_variance_keeps_it_beside_the_head(kind):
    net = ocm_net(kind, learned_variance=True)
    output = output_of(net, *inputs())
    assert output.shape == (4, 9, 8, 8)
    assert torch.equal(output[:, :6], backbone(kind, learned_variance=True).eval()(*inputs()))


@every_head
def test_training_mode_switches_the_head_alone_so_no_dropout_acts_in_the_backbone(head):
    net = ocm_net("unet", head).train()
    assert net.training
    assert all(module.training for module in net.head.modules())
    assert not any(module.training for module in net.backbone.modules())
    assert torch.equal(output_of(net, *inputs()), output_of(net, *inputs()))
    assert not any(module.training for module in net.eval().modules())


@every_unet
@every_head
def test_gradients_reach_every_weight_of_the_head_and_none_of_the_backbone(kind, head):
    net = ocm_net(kind, head)
    randomise(net.head)
    output_of(net, *inputs()).square().sum().backward()
    assert all(
        parameter.grad is None and not parameter.requires_grad for parameter in net.backbone.parameters()
    )
    for name, parameter in net.head.named_parameters():
        assert parameter.grad.count_nonzero() > 0, name


@every_unet
def test_only_the_backbones_half_is_differentiable_by_the_image(kind):
    net, (x, *rest) = ocm_net(kind), inputs()
    randomise(net.head)
    target, h = net(x.requires_grad_(), *rest)
    (by_target,) = torch.autograd.grad(target.sum(), x)
    assert by_target.count_nonzero() == by_target.numel()
    assert torch.autograd.grad(h.sum(), x, allow_unused=True) == (None,)


@every_unet
@every_head
def test_without_a_gradient_by_the_image_nothing_of_the_backbone_is_kept_for_one(kind, head):
    net, graphs = ocm_net(kind, head), []
    net.backbone.trunk.register_forward_hook(lambda module, args, output: graphs.append(output.grad_fn))
    assert output_of(net, *inputs()).requires_grad
    assert graphs == [None]


@every_head
def test_a_state_dict_carries_backbone_and_head(head):
    source, target = (randomise(ocm_net("ddpmpp", head, seed)).eval() for seed in (0, 1))
    assert not torch.equal(output_of(source, *inputs()), output_of(target, *inputs()))
    target.load_state_dict(source.state_dict())
    assert torch.equal(output_of(source, *inputs()), output_of(target, *inputs()))
    names = {name.split(".")[0] for name in source.state_dict()}
    assert names == {"backbone", "head"}


def test_head_weights_are_a_function_of_the_global_generator():
    def head(seed):
        net = backbone("unet")
        torch.manual_seed(seed)
        return attach_head(net, "complex", 3).head.state_dict()

    first, again, other = head(0), head(0), head(1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@every_unet
@every_head
def test_cost_with_a_head_equals_the_modules_parameters_and_counted_macs_exactly(kind, head):
    model = TypeAdapter(Model).validate_python({"kind": kind})
    shape = {"resolution": 32, "in_channels": 3, "num_classes": 10}
    with torch.device("meta"):
        net = attach_head(model.build(NetShape(**shape)), head, 3)
        with FlopCounterMode(display=False) as counter:
            net(torch.empty(1, 3, 32, 32), torch.empty(1))
    # The counter gives two FLOPs to each multiply-accumulate of a convolution or a matrix product.
    built = Cost(sum(parameter.numel() for parameter in net.parameters()), counter.get_total_flops() // 2)
    images = NetShape(**shape)
    channels = model.head_feature_channels(images)
    assert channels == unet_layout(model, images).decoder[-1].out_channels == net.backbone.feature_channels
    embedding = model.head_embedding_width(images)
    assert embedding == net.backbone.embedding_channels
    assert forward_cost(model, images) + head_cost(head, channels, embedding, images) == built


@pytest.mark.parametrize(
    ("head", "parameters"), [("simple", 1_859), ("complex", 75_971), ("released_complex", 108_867)]
)
def test_a_head_on_64_channels_has_the_parameters_of_the_released_code(head, parameters):
    """P6's code: norm 2 C and convolution 27 C + 3; its residual block two norms, two convolutions
    9 C^2 + C and a linear layer from 4 C to 2 C. The plain residual block is ours."""
    model = TypeAdapter(Model).validate_python({"kind": "unet", "channels": 64})
    with torch.device("meta"):
        net = attach_head(model.build(NetShape(**IMAGES)), head, 3)
    assert sum(parameter.numel() for parameter in net.head.parameters()) == parameters


def test_the_released_complex_head_hears_noise_level_and_class():
    net, (x, c_noise, label, augment) = ocm_net("unet", "released_complex").eval(), inputs()
    randomise(net.head)
    features = {}
    net.backbone.trunk.register_forward_hook(lambda module, args, output: features.update(kept=output))
    net(x, c_noise, label, augment)
    embeddings = [
        net.backbone.embed(*told) for told in ((c_noise, label), (c_noise + 1, label), (c_noise, label + 1))
    ]
    heard = [net.head(features["kept"], embedding) for embedding in embeddings]
    assert not torch.allclose(heard[0], heard[1])
    assert not torch.allclose(heard[0], heard[2])


def test_the_released_complex_head_drops_out_in_training_alone():
    net = ocm_net("unet", "released_complex")
    randomise(net.head)
    drops = [module for module in net.head.modules() if isinstance(module, nn.Dropout)]
    assert [drop.p for drop in drops] == [0.5]
    heads = [net.train()(*inputs())[1] for _ in range(2)]
    assert not torch.equal(*heads)
    heads = [net.eval()(*inputs())[1] for _ in range(2)]
    assert torch.equal(*heads)


def test_the_released_complex_head_starts_as_its_code_starts_it():
    """PyTorch's own uniform ranges, but for the two zero convolutions."""
    net = ocm_net("unet", "released_complex")
    block = net.head.block
    for layer in (block.conv1, net.head.last):
        assert not layer.weight.any()
    assert not net.head.last.bias.any()
    for layer in (block.conv0, block.affine):
        limit = layer.weight[0].numel() ** -0.5
        # Of n >= 128 uniform values the largest is below 0.9 of the limit with probability 0.9^128 = 1e-6.
        assert 0.9 * limit < layer.weight.abs().max() <= limit


def test_the_backbones_dropout_acts_while_the_head_is_trained_where_asked():
    net = attach_head(backbone("unet"), "simple", 3, backbone_dropout=True)
    assert any(module.training for module in net.train().backbone.modules())
    first, second = (net(*inputs())[0] for _ in range(2))
    assert not torch.equal(first, second)
    assert not any(module.training for module in net.eval().backbone.modules())
    assert torch.equal(net(*inputs())[0], backbone("unet").eval()(*inputs()))
