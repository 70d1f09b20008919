"""DyDiT: a DiT that decides what to skip, by noise level and
by token, and then really skips it [P5; playbook 2.6].

Routers see the noise level alone and choose attention heads and MLP groups; another one sees each token and
chooses whether it passes the MLP. In training a choice multiplies by 0 or 1 and has the gradient of a soft
one. In evaluation, where a batch shares one noise level, the heads and groups in use are gathered into
smaller dense matrices and the MLP runs on the chosen tokens only: the same numbers, up to the rounding of
sums, for the FLOPs that are reported.

On the same weights evaluation gives what P5's code gives. What differs from that code:

- Training counts the FLOPs of the choices that evaluation makes, not of its own noisy ones. Where scores are near
  zero the two differ, and it is evaluation that has to meet the budget.
- A choice's noise is one logistic draw, where the code takes the difference of two Gumbel draws: one distribution.
- Evaluation computes what is chosen alone; the code computes everything and multiplies by zeros and ones.
- The code's first stage updates the weights twice a step, before clipping and after it; here once.
- Choices of training are settings here, P5's code having one of each: the budget's ramp (`ramp: released`), timesteps
  drawn from four quarters of the chain (objective `strata: 4`), steps left out where the gradient is too large
  (`train.grad_clip` of kind `skip`), how long L_complete lasts (`complete_kimg`).
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._compile import _disable_dynamo

from engine.backbones.dit.cost import attention_cost, mlp_cost
from engine.backbones.dit.layout import DitLayout
from engine.backbones.dit.network import DitBlock, DitNet, merge_heads, modulated
from engine.backbones.dydit.config import DyDit
from engine.backbones.dydit.cost import squeezed_width
from engine.backbones.shape import NetShape
from engine.backbones.shared.layers import full_precision, xavier_init

TEMPERATURE = 5.0
"""Softness of the choices' gradient [P5, code]."""

WIDTH_BIAS = 15.0
TOKEN_BIAS = 35.0
"""Routers begin by choosing everything [P5, code]."""

ALWAYS = math.inf
"""Score of what is always chosen."""

LEAST_ROWS = 16
"""Fewer tokens than this are filled up with zeros for the MLP: matrix products of fewer rows round
differently, and a token would change with its neighbours in the batch."""


class DyDitBlock(DitBlock):
    """A DiT block with routers for its heads, its MLP groups and its tokens;
    those that are not wanted are absent.

    `forward` is the DiT block's, which skips nothing.
    """

    def __init__(self, layout: DitLayout, config: DyDit) -> None:
        super().__init__(layout, config.dropout)
        width = layout.width
        parts = layout.num_heads
        attention = attention_cost(layout).macs
        mlp = mlp_cost(layout).macs
        self.parts = parts
        self.attention_share = attention / (attention + mlp)
        self.head_router = width_router(width, parts) if "heads" in config.routes and parts > 1 else None
        self.group_router = width_router(width, parts) if "groups" in config.routes and parts > 1 else None
        self.token_router = token_router(layout) if "tokens" in config.routes else None

    def masked(
        self, x: Tensor, embedding: Tensor, head_scores: Tensor, group_scores: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tokens [B, N, D] after the block, and the share of its FLOPs that evaluation would execute, [B].

        `embedding` is [B, D], the scores are [B, H].
        """
        heads, groups = (choice(score, self.training) for score in (head_scores, group_scores))
        shift0, scale0, gate0, shift1, scale1, gate1 = self.modulation(F.silu(embedding))[:, None].chunk(
            6, dim=-1
        )
        attended = self.attention.attend(self.attention.qkv(modulated(x, shift0, scale0)))
        attended = attended * heads[:, :, None, None].to(attended.dtype)
        x = x + gate0 * self.dropout(self.attention.proj(merge_heads(attended)))
        token_scores = self.token_scores(x)
        tokens = choice(token_scores, self.training)
        hidden = self.widen(modulated(x, shift1, scale1)).unflatten(-1, (self.parts, -1))
        hidden = F.gelu((hidden * groups[:, None, :, None].to(hidden.dtype)).flatten(2), approximate="tanh")
        x = x + gate1 * tokens[..., None].to(x.dtype) * self.dropout(self.narrow(hidden))
        counted = (choice(score, noisy=False).mean(1) for score in (head_scores, group_scores, token_scores))
        return x, self.executed(*counted)

    def gathered(self, x: Tensor, embedding: Tensor, heads: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
        """What `masked` gives in evaluation for one choice of all images, computing only what is chosen.

        `heads` and `groups` are zeros and ones [H].
        """
        before_attention, before_mlp = self.modulation(F.silu(embedding)).chunk(2, dim=-1)
        shift, scale, gate = before_attention[:, None].chunk(3, dim=-1)
        x = x + gate * self.attend(modulated(x, shift, scale), heads.nonzero()[:, 0])
        tokens = choice(self.token_scores(x), noisy=False)
        used = groups.nonzero()[:, 0]
        places = tokens.flatten().nonzero()[:, 0]
        if len(places) == tokens.numel():
            shift, scale, gate = before_mlp[:, None].chunk(3, dim=-1)
            x = x + gate * self.feed(modulated(x, shift, scale), used)
        else:
            rows = x.flatten(0, 1).index_select(0, places)
            shift, scale, gate = before_mlp.index_select(0, places // x.shape[1]).chunk(3, dim=-1)
            rows = rows + gate * self.feed_few(modulated(rows, shift, scale), used)
            x = x.flatten(0, 1).index_copy(0, places, rows).view_as(x)
        return x, self.executed(heads.mean(), groups.mean(), tokens.mean(1))

    def attend(self, x: Tensor, heads: Tensor) -> Tensor:
        """Attention of some heads, whose weights are put side by side, on tokens [B, N, D]."""
        attention = self.attention
        width = x.shape[-1]
        if len(heads) == self.parts:
            everything: Tensor = attention(x)
            return everything
        rows = attention.qkv.weight.view(3, self.parts, -1, width).index_select(1, heads).flatten(0, 2)
        bias = attention.qkv.bias.view(3, self.parts, -1).index_select(1, heads).flatten()
        query, key, value = F.linear(x, rows, bias).unflatten(-1, (3, len(heads), -1)).permute(2, 0, 3, 1, 4)
        attended = merge_heads(F.scaled_dot_product_attention(query, key, value))
        columns = attention.proj.weight.view(width, self.parts, -1).index_select(1, heads).flatten(1)
        return F.linear(attended, columns, attention.proj.bias)

    def feed_few(self, x: Tensor, groups: Tensor) -> Tensor:
        """The MLP on tokens [M, D], as many as there are."""
        return self.feed(F.pad(x, (0, 0, 0, max(0, LEAST_ROWS - len(x)))), groups)[: len(x)]

    def feed(self, x: Tensor, groups: Tensor) -> Tensor:
        """The MLP with some of its hidden groups, whose weights are put side by side, on tokens [..., D]."""
        width = x.shape[-1]
        if len(groups) == self.parts:
            return self.mlp(x)
        rows = self.widen.weight.view(self.parts, -1, width).index_select(0, groups).flatten(0, 1)
        bias = self.widen.bias.view(self.parts, -1).index_select(0, groups).flatten()
        hidden = F.gelu(F.linear(x, rows, bias), approximate="tanh")
        columns = self.narrow.weight.view(width, self.parts, -1).index_select(1, groups).flatten(1)
        return F.linear(hidden, columns, self.narrow.bias)

    def part_scores(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Scores [B, H] of heads and of groups at noise embeddings [B, D];
        the first of each is always chosen."""
        always = noise.new_full((len(noise), self.parts), ALWAYS, dtype=torch.float32)
        heads, groups = (
            always if router is None else torch.cat([always[:, :1], scores(router, noise)], dim=1)
            for router in (self.head_router, self.group_router)
        )
        return heads, groups

    def token_scores(self, x: Tensor) -> Tensor:
        """Scores [B, N] of the tokens [B, N, D]."""
        if self.token_router is None:
            return x.new_full(x.shape[:2], ALWAYS, dtype=torch.float32)
        return scores(self.token_router, x)[..., 0]

    def executed(self, heads: Tensor, groups: Tensor, tokens: Tensor) -> Tensor:
        """Share of attention's and the MLP's FLOPs for these shares of heads, groups and tokens."""
        return self.attention_share * heads + (1 - self.attention_share) * groups * tokens


class DyDitNet(DitNet):
    """A DiT with routers. Its weights are a DiT's and those of the routers.
    Raises ValueError as DitNet does."""

    packs_steps: ClassVar[bool] = DyDit.packs_steps

    def __init__(self, config: DyDit, shape: NetShape) -> None:
        super().__init__(config, shape)
        self.is_complete = False
        self.watchers: list[Callable[[Tensor], None]] = []

    def build_block(self) -> nn.Module:
        """One block with routers."""
        assert isinstance(self.config, DyDit)
        return DyDitBlock(self.layout, self.config)

    def run_blocks(self, tokens: Tensor, embedding: Tensor, noise: Tensor) -> Tensor:
        """All blocks on tokens [B, N, D], skipping what can be skipped."""
        if self.is_complete:
            return super().run_blocks(tokens, embedding, noise)
        found = [block.part_scores(noise) for block in self.routed]
        gathers = not self.training and all_alike(found)
        ratios = []
        for block, parts in zip(self.routed, found, strict=True):
            if gathers:
                tokens, ratio = block.gathered(
                    tokens, embedding, *(choice(score[0], noisy=False) for score in parts)
                )
            else:
                tokens, ratio = self.run(block.masked, tokens, embedding, *parts)
            ratios.append(ratio)
        if self.watchers:
            self.tell(torch.stack(ratios).mean(0))
        return tokens

    # torch.compiler.disable would load the compiler along
    # with this file, which takes as long as torch itself.
    @_disable_dynamo
    def tell(self, ratio: Tensor) -> None:
        """Hand `ratio` [B] to whoever watches: outside of what
        is compiled, which is to know nothing of watchers."""
        for watch in self.watchers:
            watch(ratio)

    @property
    def routed(self) -> list[DyDitBlock]:
        """The blocks."""
        return [block for block in self.blocks if isinstance(block, DyDitBlock)]

    @contextmanager
    def complete(self) -> Iterator[None]:
        """Choose everything for a while: the static DiT, which watchers are not told of."""
        self.is_complete = True
        try:
            yield
        finally:
            self.is_complete = False

    @contextmanager
    def watched_by(self, watch: Callable[[Tensor], None]) -> Iterator[None]:
        """Hand on, for a while, what each pass executes of attention's and the MLPs' FLOPs:
        ratios [B] with gradient.

        The network keeps none of them, so that it can be copied at any time.
        """
        self.watchers.append(watch)
        try:
            yield
        finally:
            self.watchers.remove(watch)


@contextmanager
def watch_ratio(net: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what each pass executes of attention's and the MLPs' FLOPs:
    one tensor [B] a pass, without gradient."""
    if not isinstance(net, DyDitNet):
        raise TypeError("only a DyDiT's network chooses what to execute")
    ratios: list[Tensor] = []
    with net.watched_by(lambda ratio: ratios.append(ratio.detach())):
        yield ratios


def all_alike(found: list[tuple[Tensor, Tensor]]) -> bool:
    """Whether every image chooses the same heads and groups,
    as it does where a batch shares one noise level."""
    chosen = torch.stack([score for parts in found for score in parts]) > 0
    return bool((chosen == chosen[:, :1]).all())


def width_router(width: int, parts: int) -> nn.Module:
    """From the noise embedding to a score for every head or group but the first, which is always used."""
    router = xavier_init(nn.Linear(width, parts - 1))
    nn.init.constant_(router.bias, WIDTH_BIAS)
    return router


def token_router(layout: DitLayout) -> nn.Module:
    """From a token to its score."""
    last = xavier_init(nn.Linear(squeezed_width(layout), 1))
    nn.init.constant_(last.bias, TOKEN_BIAS)
    return nn.Sequential(xavier_init(nn.Linear(layout.width, squeezed_width(layout))), nn.ReLU(), last)


def scores(router: nn.Module, x: Tensor) -> Tensor:
    """A router's scores, in full precision also under autocast: bf16 steps by 0.25 near a score of 35."""
    with full_precision(x.device):
        found: Tensor = router(x.to(next(router.parameters()).dtype))
    return found


def choice(score: Tensor, noisy: bool) -> Tensor:
    """Ones where a score is above zero, zeros elsewhere, float32, with the gradient of a soft sigmoid.

    In training a score is `noisy`: it has logistic noise on it, the difference of two Gumbel draws.
    """
    score = score.float()
    if noisy:
        score = score + torch.rand_like(score).clamp(1e-7, 1 - 1e-7).logit()
    soft = torch.sigmoid(score / TEMPERATURE)
    return (score > 0).float() + (soft - soft.detach())
