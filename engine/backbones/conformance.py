"""What every backbone must do, as checks that its own test runs.
Needs torch; takes seconds for a small network.

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_the_mixer_conforms(check):
        check(Mixer(width=16))

Each check builds the network for 8x8 images of one channel and raises
AssertionError, in words, where it does not hold. `model` is a small configuration,
unconditional and without dropout; the checks change that themselves.
"""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from engine.backbones.base import ModelBase
from engine.backbones.flops import forward_cost
from engine.backbones.shape import NetShape
from engine.files import pack, unpack

Check = Callable[[ModelBase], None]

DIGITS = NetShape(resolution=8, in_channels=1, num_classes=10)
AUGMENTED = NetShape(resolution=8, in_channels=1, num_classes=10, augment_labels=9)

HEARD = 1e-3
"""Relative change of the output that counts as heard: a condition is one part in a
few of the embedding, and its effect is far above the rounding of single precision."""


def lively(model: ModelBase, shape: NetShape = DIGITS, seed: int = 0) -> nn.Module:
    """A network whose weights are nowhere zero, as after training, so that every branch takes part."""
    torch.manual_seed(seed)
    net = model.build(shape)
    for name, parameter in net.named_parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
        elif "router" in name:
            # Routers begin by choosing everything; without their bias they choose about one half.
            nn.init.zeros_(parameter)
    return net.eval()


def inputs(batch: int, seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Images [B, 1, 8, 8], c_noise [B] and classes [B]."""
    x = torch.randn(batch, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    return x, torch.linspace(-1.0, 1.0, batch), torch.arange(batch) % 10


def relative_change(value: Tensor, reference: Tensor) -> float:
    """Norm of the difference over the reference's."""
    return float((value.double() - reference.double()).norm() / reference.double().norm())


def conditional(model: ModelBase, label_dropout: float = 0.0) -> ModelBase:
    """The same network with a label input."""
    return model.model_copy(update={"class_conditional": True, "label_dropout": label_dropout})


def weights_and_output_are_a_function_of_the_seed(model: ModelBase) -> None:
    """Nothing but torch's global generator makes the fresh weights."""
    with torch.no_grad():
        first, again, other = (lively(model, seed=seed)(*inputs(2)) for seed in (0, 0, 1))
    assert torch.equal(first, again), "two networks of one seed differ"
    assert not torch.equal(first, other), "two networks of different seeds are equal"


def gradients_reach_every_weight(model: ModelBase) -> None:
    """With and without labels; every matrix gets some gradient, and all of it is finite."""
    for one in (model, conditional(model)):
        net = lively(one, AUGMENTED).train()
        net(*inputs(4), torch.ones(4, 9)).square().sum().backward()
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None, f"no gradient reaches {name}"
            assert parameter.grad.isfinite().all(), f"the gradient of {name} is not finite"
            assert parameter.dim() == 1 or parameter.grad.count_nonzero() > 0, (
                f"the gradient of {name} is zero"
            )


def an_image_does_not_see_its_neighbours(model: ModelBase) -> None:
    """The output of an image is the same, to the bit, whatever else is in the batch."""
    net = lively(model)
    x, c_noise, label = inputs(4)
    others = torch.cat([x[:1], torch.randn(3, 1, 8, 8)])
    with torch.no_grad():
        same = torch.equal(net(x, c_noise, label)[0], net(others, c_noise, label)[0])
    assert same, "an image's output changes with its neighbours in the batch"


def label_and_noise_level_are_heard(model: ModelBase) -> None:
    """Both change the output of a conditional network."""
    net = lively(conditional(model))
    x, c_noise, label = inputs(2)
    with torch.no_grad():
        output = net(x, c_noise, label)
        assert relative_change(net(x, c_noise, label + 1), output) > HEARD, "the label is not heard"
        assert relative_change(net(x, c_noise + 1, label), output) > HEARD, "the noise level is not heard"


def a_conditional_network_demands_a_label(model: ModelBase) -> None:
    """ValueError in words, rather than an error from within."""
    x, c_noise, _ = inputs(2)
    message = refusal(lambda: lively(conditional(model))(x, c_noise, None))
    assert "needs a label" in message, "a conditional network must refuse a missing label in words"


def an_unconditional_network_ignores_the_label(model: ModelBase) -> None:
    """So that samplers need not know. Label dropout changes nothing in it."""
    x, c_noise, label = inputs(2)
    net = lively(model)
    same = lively(model.model_copy(update={"label_dropout": 0.1}))
    with torch.no_grad():
        output = net(x, c_noise, label)
        assert torch.equal(output, net(x, c_noise, None)), "the label changes an unconditional network"
        assert torch.equal(output, same(x, c_noise, label)), "label dropout changes an unconditional network"


def label_minus_one_is_an_answer_of_its_own(model: ModelBase) -> None:
    """With label dropout -1 stands for "no label"; no two of the labels are answered alike."""
    net = lively(conditional(model, label_dropout=0.1))
    x, c_noise, _ = inputs(1)
    labels = torch.arange(-1, 10)
    with torch.no_grad():
        outputs = net(x.expand(11, -1, -1, -1), c_noise.expand(11), labels)
    for one, other in itertools.combinations(outputs, 2):
        assert relative_change(one, other) > HEARD, "two labels are answered alike"


def a_label_that_is_no_class_is_refused(model: ModelBase) -> None:
    """An index out of range, never a silent answer."""
    x, c_noise, _ = inputs(1)
    for label_dropout, label in ((0.0, -1), (0.0, 10), (0.1, -2), (0.1, 10)):
        net = lively(conditional(model, label_dropout))
        try:
            net(x, c_noise, torch.tensor([label]))
        except (IndexError, RuntimeError):
            continue
        raise AssertionError(f"label {label} of ten classes is answered (label_dropout {label_dropout})")


def augmentation_is_heard(model: ModelBase) -> None:
    """No augmentation labels are exactly zeros; each of the nine is heard."""
    net = lively(model, AUGMENTED)
    arguments = inputs(3)
    with torch.no_grad():
        output = net(*arguments)
        assert torch.equal(net(*arguments, torch.zeros(3, 9)), output), "zeros are not no augmentation"
        for number in range(9):
            augment = torch.eye(9)[[number]].expand(3, 9)
            heard = relative_change(net(*arguments, augment), output)
            assert heard > HEARD, f"augmentation label {number} is not heard"


def a_network_without_augmentation_labels_refuses_them(model: ModelBase) -> None:
    """ValueError in words."""
    message = refusal(lambda: lively(model)(*inputs(2), torch.zeros(2, 9)))
    assert "without augmentation labels" in message, "augmentation labels must be refused in words"


def the_output_has_the_channels_of_the_shape(model: ModelBase) -> None:
    """Twice as many as the input where a variance is learned."""
    variance = NetShape(resolution=8, in_channels=1, num_classes=10, learned_variance=True)
    found = tuple(model.build(variance)(*inputs(3)).shape)
    assert found == (3, 2, 8, 8), f"the output is {found}, not (3, 2, 8, 8)"


def dropout_acts_in_training_only(model: ModelBase) -> None:
    """In evaluation the network is a function of its input."""
    net = lively(model.model_copy(update={"dropout": 0.5}))
    arguments = inputs(2)
    with torch.no_grad():
        assert torch.equal(net(*arguments), net(*arguments)), "the network is random in evaluation"
        net.train()
        assert not torch.equal(net(*arguments), net(*arguments)), "dropout does nothing in training"


def a_file_of_the_weights_carries_everything(model: ModelBase) -> None:
    """Another network with these weights gives the same output, to the bit."""
    source = lively(conditional(model), seed=0)
    target = lively(conditional(model), seed=1)
    arguments = inputs(2)
    with torch.no_grad():
        before = source(*arguments)
        weights, _ = unpack(pack(source.state_dict(), {}))
        target.load_state_dict(weights)
        assert torch.equal(before, target(*arguments)), "the state dict does not carry everything"


def the_counted_cost_is_the_networks(model: ModelBase) -> None:
    """Parameters to the last one; multiply-accumulates as torch counts those of layers and matrix products.
    A kind that counts nothing passes, and so does the work of one that skips some of it."""
    counted = forward_cost(conditional(model), AUGMENTED)
    if counted is None:
        return
    with torch.device("meta"):
        net = conditional(model).build(AUGMENTED).eval()
        built = sum(parameter.numel() for parameter in net.parameters())
        assert counted.params == built, f"{counted.params:,} parameters are counted, {built:,} built"
        if model.executes_part:
            return
        label = torch.zeros(1, dtype=torch.int64)
        with FlopCounterMode(display=False) as counter:
            net(torch.empty(1, 1, 8, 8), torch.empty(1), label, torch.empty(1, 9))
    executed = counter.get_total_flops() // 2
    # A one-hot label's linear layer is a product that some counters do not see.
    assert abs(counted.macs - executed) <= counted.macs // 100, (
        f"{counted.macs:,} multiply-accumulates are counted, {executed:,} executed"
    )


def refusal(call: Callable[[], object]) -> str:
    """The message of the ValueError that `call` raises, or nothing where it raises none."""
    try:
        call()
    except ValueError as error:
        return str(error)
    return ""


CHECKS: tuple[Check, ...] = (
    weights_and_output_are_a_function_of_the_seed,
    gradients_reach_every_weight,
    an_image_does_not_see_its_neighbours,
    label_and_noise_level_are_heard,
    a_conditional_network_demands_a_label,
    an_unconditional_network_ignores_the_label,
    label_minus_one_is_an_answer_of_its_own,
    a_label_that_is_no_class_is_refused,
    augmentation_is_heard,
    a_network_without_augmentation_labels_refuses_them,
    the_output_has_the_channels_of_the_shape,
    dropout_acts_in_training_only,
    a_file_of_the_weights_carries_everything,
    the_counted_cost_is_the_networks,
)
"""All of them."""
