"""DyDiT: skipping gives what masking gives, a fresh one is its DiT, and ratios are counted FLOPs."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from engine.backbones.dit.cost import attention_cost, mlp_cost
from engine.backbones.dit.layout import dit_layout
from engine.backbones.dit.network import DitBlock, DitNet
from engine.backbones.dit.settings import DIT_SIZES
from engine.backbones.dydit import network as dydit
from engine.backbones.dydit.config import DyDit
from engine.backbones.dydit.network import DyDitBlock, DyDitNet, watch_ratio
from engine.backbones.shape import LATENTS, NetShape
from engine.training.start import adopt

SHAPE = NetShape(resolution=8, in_channels=1, num_classes=10)
SMALL: dict[str, Any] = {"depth": 2, "width": 64, "num_heads": 4, "patch_size": 2}
LAYOUT = dit_layout(DyDit(**SMALL), SHAPE)
STEPS_A_BLOCK = 24
"""Elementwise and matrix steps on the way through a block, each of which rounds."""


def randomise(module: nn.Module, seed: int) -> None:
    """Weights that are nowhere zero, and routers that choose about half of heads and groups."""
    torch.manual_seed(seed)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)


@torch.no_grad()
def choose_tokens(block: DyDitBlock, run: Callable[[], Any], share: float) -> None:
    """Let a block choose about this share of the tokens that `run` shows it, or exactly all (1)
    or none (0)."""
    assert block.token_router is not None
    last, seen = block.token_router[-1], []
    hook = last.register_forward_hook(lambda module, arguments, found: seen.append(found))
    last.bias.zero_()
    run()
    hook.remove()
    last.bias.copy_(-seen[0].quantile(1 - share) + {0: -1.0, 1: 1.0}.get(share, 0.0))


def network(seed: int = 0, share: float = 0.5, **changes: Any) -> DyDitNet:
    """A network that at `inputs` chooses this share of the tokens."""
    net = DyDitNet(DyDit(**SMALL, **changes), SHAPE)
    randomise(net.eval(), seed)
    for block in net.routed:
        if block.token_router is not None:
            choose_tokens(block, lambda: net(*inputs()), share)
    return net


def inputs(batch: int = 5, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Images at one noise level."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 1, 8, 8, generator=generator), torch.full((batch,), 0.3)


def masked_output(net: DyDitNet, monkeypatch: pytest.MonkeyPatch, arguments: tuple[Tensor, ...]) -> Tensor:
    """The output of the network when it takes no advantage of equal noise levels."""
    with monkeypatch.context() as patch:
        patch.setattr(dydit, "all_alike", lambda found: False)
        output: Tensor = net(*arguments)
    return output


def error(value: Tensor, reference: Tensor) -> float:
    return float((value - reference).norm() / reference.norm())


def block_states() -> list[tuple[str, list[float], list[float], float]]:
    """Heads, groups, and the share of tokens."""
    generator = torch.Generator().manual_seed(0)
    drawn = [(torch.rand(2, 4, generator=generator) > 0.5).float().tolist() for _ in range(12)]
    mixed = [(f"random {number}", [1.0, *h[1:]], [1.0, *g[1:]], 0.5) for number, (h, g) in enumerate(drawn)]
    everything, first = [1.0] * 4, [1.0, 0, 0, 0]
    return [
        *mixed,
        ("all", everything, everything, 1),
        ("all, some tokens", everything, everything, 0.5),
        ("the first, all tokens", first, first, 1),
        ("the first, some tokens", first, first, 0.3),
        ("all, no token", everything, everything, 0),
        ("the first, no token", first, first, 0),
    ]


@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float32, 2.0**-24), (torch.float64, 2.0**-53)])
@pytest.mark.parametrize("state", block_states(), ids=lambda state: state[0])
@torch.no_grad()
def test_a_gathered_block_is_the_masked_one(
    state: tuple[str, list[float], list[float], float], dtype: torch.dtype, rounding: float
) -> None:
    """Sums have the same terms in another order, without the zeros:
    every step differs by a rounding at most."""
    _, heads, groups, share = state
    block = DyDitBlock(LAYOUT, DyDit(**SMALL)).to(dtype).eval()
    randomise(block, seed=2)
    x, embedding = torch.randn(3, 16, 64, dtype=dtype), torch.randn(3, 64, dtype=dtype)
    used = [torch.tensor(parts) for parts in (heads, groups)]
    choose_tokens(block, lambda: block.gathered(x, embedding, *used), share)
    masked, ratio = block.masked(x, embedding, *((parts - 0.5).expand(3, -1) for parts in used))
    gathered, same_ratio = block.gathered(x, embedding, *used)
    assert gathered.dtype == dtype
    assert error(gathered, masked) < STEPS_A_BLOCK * rounding
    torch.testing.assert_close(
        same_ratio, ratio, rtol=0, atol=2.0**-22
    )  # a mean of 4 and one of 16, and a product
    attention, mlp = attention_cost(LAYOUT).macs, mlp_cost(LAYOUT).macs
    wanted = (attention * sum(heads) / 4 + mlp * sum(groups) / 4 * share) / (attention + mlp)
    assert float(ratio.mean()) == pytest.approx(wanted, abs=1 / 48)  # a quantile is a token out at most


@pytest.mark.parametrize("routes", [("heads",), ("groups",), ("tokens",), ("heads", "groups", "tokens")])
@pytest.mark.parametrize("seed", range(4))
@torch.no_grad()
def test_a_network_gathers_what_it_would_have_masked(
    routes: tuple[str, ...], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = network(seed, routes=routes)
    with watch_ratio(net) as ratios:
        output = net(*inputs())
        reference = masked_output(net, monkeypatch, inputs())
    assert error(output, reference) < 2 * STEPS_A_BLOCK * 2.0**-24
    torch.testing.assert_close(ratios[0], ratios[1], rtol=0, atol=2.0**-22)
    assert ratios[0].shape == (5,)
    assert float(ratios[0].max()) < 1


@torch.no_grad()
def test_images_at_different_noise_levels_are_masked_and_get_what_each_gets_alone() -> None:
    net, (x, _) = network(), inputs()
    levels = torch.linspace(-2, 2, 5)
    with watch_ratio(net) as ratios:
        together = net(x, levels)
        alone = torch.cat([net(x[[number]], levels[[number]]) for number in range(5)])
    assert error(together, alone) < 2 * STEPS_A_BLOCK * 2.0**-24
    torch.testing.assert_close(ratios[0], torch.cat(ratios[1:]), rtol=0, atol=2.0**-22)


@pytest.mark.parametrize("share", [0.5, 0.2, 0.05])
@torch.no_grad()
def test_the_bits_of_an_image_do_not_depend_on_how_many_tokens_its_neighbours_send_through_the_mlp(
    share: float,
) -> None:
    net, (x, level) = network(share=share), inputs()
    with watch_ratio(net) as ratios:
        outputs = [net(torch.cat([x[:1], inputs(seed=seed)[0][1:]]), level)[0] for seed in range(2, 12)]
    assert len({float(ratio[1:].sum()) for ratio in ratios}) > 1
    assert all(torch.equal(output, outputs[0]) for output in outputs)


def with_a_dits_weights(**changes: Any) -> tuple[DyDitNet, DitNet]:
    """A fresh DyDiT that took over the weights of a DiT, none of them zero, and that DiT."""
    config = DyDit(**SMALL, **changes)
    static, net = DitNet(config.static, SHAPE), DyDitNet(config, SHAPE)
    randomise(static, seed=3)
    adopt(net, static)
    return net, static.eval()


@torch.no_grad()
def test_a_fresh_dydit_is_the_dit_whose_weights_it_took_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    net, static = with_a_dits_weights()
    reference = static(*inputs())
    assert torch.equal(net.eval()(*inputs()), reference)
    assert torch.equal(masked_output(net, monkeypatch, inputs()), reference)
    torch.manual_seed(0)
    assert torch.equal(net.train()(*inputs()), reference)  # sigmoid(-15), the odds of a 0, is 3e-7


@torch.no_grad()
def test_the_complete_network_skips_nothing_whatever_the_routers_say() -> None:
    net = network()
    static = DitNet(DyDit(**SMALL).static, SHAPE).eval()
    static.load_state_dict(net.state_dict(), strict=False)
    with net.complete():
        assert torch.equal(net(*inputs()), static(*inputs()))
    assert not torch.equal(net(*inputs()), static(*inputs()))


@torch.no_grad()
@pytest.mark.parametrize(
    ("size", "attention", "mlp"), [("S", 0.201, 0.302), ("B", 0.705, 1.208), ("XL", 1.510, 2.718)]
)
def test_a_block_has_the_gmacs_that_the_released_code_weighs_choices_with(
    size: str, attention: float, mlp: float
) -> None:
    depth, width, heads = DIT_SIZES[size]
    layout = dit_layout(DyDit(depth=depth, width=width, num_heads=heads, patch_size=2), LATENTS)
    assert round(attention_cost(layout).macs / 1e9, 3) == attention
    assert round(mlp_cost(layout).macs / 1e9, 3) == mlp


def test_training_counts_what_evaluation_executes_and_not_its_own_noisy_choices() -> None:
    net = network(routes=("heads", "groups"))
    with watch_ratio(net) as ratios:
        net(*inputs())
        for seed in range(5):
            torch.manual_seed(seed)
            net.train()(*inputs())
    assert all(torch.equal(ratio, ratios[1]) for ratio in ratios[2:])
    torch.testing.assert_close(ratios[0], ratios[1], rtol=0, atol=2.0**-22)  # means in another order


@pytest.mark.parametrize("share", [0, 1])
@torch.no_grad()
def test_under_autocast_gathering_keeps_the_dtype_and_stays_near_masking(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = network(share=share)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, reference = net(*inputs()), masked_output(net, monkeypatch, inputs())
    assert output.dtype == reference.dtype
    assert (
        error(output.float(), reference.float()) < (2 * STEPS_A_BLOCK) ** 0.5 * 2.0**-8
    )  # independent roundings


def flops(run: Any, *arguments: Any) -> int:
    """Counted with attention as plain matrix products: PyTorch's counter knows the CPU's fused kernel not."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        run(*arguments)
    return int(counter.get_total_flops())


@pytest.mark.parametrize("state", block_states()[:6], ids=lambda state: state[0])
@torch.no_grad()
def test_the_ratio_is_the_counted_flops_of_attention_and_mlp_over_the_static_blocks(
    state: tuple[str, list[float], list[float], float],
) -> None:
    """Everything else in a block is the modulation, which a static block has too, and the token router."""
    _, heads, groups, share = state
    block = DyDitBlock(LAYOUT, DyDit(**SMALL)).eval()
    randomise(block, seed=2)
    x, embedding = torch.randn(6, 16, 64), torch.randn(6, 64)
    routed = 2 * (attention_cost(LAYOUT).macs + mlp_cost(LAYOUT).macs) * len(x)
    rest = flops(block.modulation, embedding)
    assert flops(lambda: DitBlock.forward(block, x, embedding)) == routed + rest
    used = [torch.tensor(parts) for parts in (heads, groups)]
    choose_tokens(block, lambda: block.gathered(x, embedding, *used), share)
    executed = flops(block.gathered, x, embedding, *used) - rest - flops(block.token_router, x)
    _, ratio = block.gathered(x, embedding, *used)
    assert executed == pytest.approx(float(ratio.double().mean()) * routed, rel=1e-6)  # ratios are fp32
    assert 0 < executed < routed


def test_ratios_have_a_gradient_for_every_router_and_watching_takes_it_away() -> None:
    net, kept = network().train(), []
    torch.manual_seed(0)
    with net.watched_by(kept.append), watch_ratio(net) as ratios:
        net(*inputs())
        net(*inputs())
    net(*inputs())
    assert [len(kept), len(ratios)] == [2, 2]
    assert torch.equal(kept[1], ratios[1])
    assert not ratios[0].requires_grad
    kept[0].mean().backward()
    for name, parameter in net.named_parameters():
        if "head_router" in name or "group_router" in name or "token_router" in name:
            assert parameter.grad is not None, name
            assert parameter.grad.count_nonzero() > 0, name


def test_a_network_can_be_copied_after_a_pass_with_gradients_and_trained_after_one_in_inference_mode() -> (
    None
):
    net = network()
    with torch.inference_mode():
        net(*inputs())
    net.train()(*inputs()).sum().backward()
    same = copy.deepcopy(net)
    assert torch.equal(same.eval()(*inputs()), net.eval()(*inputs()))


def test_with_checkpointing_gradients_are_the_same_to_the_last_bit() -> None:
    found = []
    for checkpointing in (False, True):
        net, kept = network(dropout=0.1).train(), []
        net.checkpointing = checkpointing
        torch.manual_seed(0)
        with net.watched_by(kept.append):
            loss = net(*inputs()).square().mean()
        (loss + kept[0].mean()).backward()
        found.append([parameter.grad for parameter in net.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True) if one is not None)


@torch.no_grad()
def test_a_single_head_is_always_used_and_has_no_router(monkeypatch: pytest.MonkeyPatch) -> None:
    net = DyDitNet(DyDit(**(SMALL | {"num_heads": 1})), SHAPE)
    randomise(net, seed=0)
    assert not any("head_router" in name or "group_router" in name for name in net.state_dict())
    with watch_ratio(net.eval()) as ratios:
        output = net(*inputs())
    assert error(output, masked_output(net, monkeypatch, inputs())) < 2 * STEPS_A_BLOCK * 2.0**-24
    attention, mlp = attention_cost(net.layout).macs, mlp_cost(net.layout).macs
    assert attention / (attention + mlp) < float(ratios[0].mean()) < 1
