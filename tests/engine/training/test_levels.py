"""Draws of training noise levels: stratified, weighed by a history of losses, and keyed by position."""

from collections import deque

import pytest
import torch
from torch import Tensor

from engine.noise import Purpose, uniform
from engine.objectives.design import Design
from engine.objectives.edm import EdmObjective
from engine.objectives.hybrid import HybridObjective
from engine.process.noise_levels import LossSecondMoment, NoiseLevelsBase, UniformTime
from engine.process.processes import DiscreteProcess, EdmProcess
from engine.process.weighting import UniformWeight
from engine.training.levels import LevelDrawer, LossHistory

STEPS = 20
CHAIN = DiscreteProcess(schedule="cosine", num_timesteps=STEPS)


def drawer(levels: NoiseLevelsBase, batch_size: int = 64) -> LevelDrawer:
    return LevelDrawer(Design(CHAIN, "eps", UniformWeight(), levels), batch_size)


def history_of(drawer: LevelDrawer) -> LossHistory:
    assert drawer.history is not None
    return drawer.history


def uniforms(count: int, seed: int = 0) -> Tensor:
    return uniform(seed, Purpose.NOISE_LEVEL, torch.arange(count))


def warmed(levels: LossSecondMoment, batch_size: int = 64) -> tuple[LevelDrawer, Tensor]:
    """A drawer past its warm-up, and the root mean square of the losses it remembers."""
    made = drawer(levels, batch_size)
    losses = torch.rand(
        STEPS, levels.history, generator=torch.Generator().manual_seed(7), dtype=torch.float64
    )
    losses *= torch.logspace(0, -2, STEPS, dtype=torch.float64)[:, None]
    made.record(torch.arange(STEPS).repeat_interleave(levels.history), losses.flatten())
    return made, losses.square().mean(1).sqrt()


@pytest.mark.parametrize("objective", [EdmObjective(), HybridObjective(num_timesteps=STEPS)])
def test_plain_draws_are_those_of_the_design(objective: EdmObjective | HybridObjective) -> None:
    design, u = objective.design, uniforms(50)
    levels = LevelDrawer(design, 50).draw(u, torch.arange(50))
    assert torch.equal(levels.sigma, design.noise_levels.sigma(u, design.process))
    assert torch.equal(levels.weight, torch.ones(50, dtype=torch.float64))
    assert levels.bin is None


def test_a_stratified_batch_has_one_draw_in_each_slice() -> None:
    made = LevelDrawer(
        Design(EdmProcess(sigma_min=1.0, sigma_max=65.0), "F", UniformWeight(), UniformTime(stratified=True)),
        64,
    )
    for batch in range(3):
        sigma = made.draw(uniforms(64, batch), torch.arange(64) + 64 * batch).sigma
        assert torch.equal((sigma - 1).floor().long(), torch.arange(64))  # slice i is (i, i + 1)
    ends = torch.tensor(
        [2.0**-33, 1 - 2.0**-33], dtype=torch.float64
    )  # the smallest and the largest draw there is
    assert made.draw(ends, torch.tensor([0, 63])).sigma.tolist() == pytest.approx([1, 65], abs=1e-8)


@pytest.mark.parametrize("workers", [1, 2])
def test_four_strata_give_every_quarter_of_the_chain_a_quarter_of_each_workers_batch(workers: int) -> None:
    """DyDiT's code draws as many timesteps in [0, T/4), [T/4, T/2), [T/2, 3T/4) and [3T/4, T)."""
    made = LevelDrawer(HybridObjective(num_timesteps=STEPS, strata=4).design, 32)
    sigmas = torch.tensor(made.process.sigmas, dtype=torch.float64)
    for batch in range(3):
        positions, u = torch.arange(32) + 32 * batch, uniforms(32, batch)
        share = 32 // workers
        parts = [made.draw(u[at], positions[at]).sigma for at in torch.arange(32).split(share)]
        for part in parts:  # a part goes through the network at once, and a budget holds for its mean
            timestep = torch.searchsorted(sigmas, part)
            assert torch.bincount(timestep // (STEPS // 4), minlength=4).tolist() == [share // 4] * 4
            assert len(set((timestep % (STEPS // 4)).tolist())) > 1


def test_slices_are_given_in_one_way() -> None:
    with pytest.raises(ValueError, match="leave strata out"):
        UniformTime(stratified=True, strata=4)


@pytest.mark.parametrize(
    "levels", [UniformTime(stratified=True), LossSecondMoment(stratified=True, history=3)]
)
def test_splitting_a_batch_changes_no_image(levels: NoiseLevelsBase) -> None:
    made = warmed(levels)[0] if isinstance(levels, LossSecondMoment) else drawer(levels)
    u, positions = uniforms(64), torch.arange(640, 704)
    whole = made.draw(u, positions)
    parts = [made.draw(u[part], positions[part]) for part in (slice(0, 16), slice(16, 64))]
    assert torch.equal(whole.sigma, torch.cat([part.sigma for part in parts]))
    assert torch.equal(whole.weight, torch.cat([part.weight for part in parts]))


def test_before_every_timestep_has_its_history_draws_are_uniform() -> None:
    made, u = drawer(LossSecondMoment(history=3)), uniforms(4000)
    expected = UniformTime().sigma(u, CHAIN)
    timesteps = torch.arange(STEPS)
    for _ in range(2):
        made.record(timesteps, timesteps.double())
    made.record(timesteps[1:], timesteps[1:].double())  # one loss at t = 0 is still missing
    levels = made.draw(u, torch.arange(4000))
    assert levels.weight.tolist() == pytest.approx([1] * 4000)
    assert torch.equal(levels.sigma, expected)
    made.record(timesteps[:1], torch.tensor([0.0]))
    assert not torch.equal(made.draw(u, torch.arange(4000)).sigma, expected)


def test_probabilities_are_the_root_mean_squares_and_a_uniform_share() -> None:
    made, root = warmed(LossSecondMoment(history=5, uniform_share=0.1))
    expected = 0.9 * root / root.sum() + 0.1 / STEPS
    torch.testing.assert_close(history_of(made).probabilities(), expected, rtol=1e-12, atol=0)


def test_weighed_draws_have_the_mean_of_uniform_ones() -> None:
    made, _ = warmed(LossSecondMoment())
    values = torch.linspace(-1, 3, STEPS, dtype=torch.float64).exp()
    # Midpoints of an even grid: the share of draws at t is p_t to within one part in the number of points.
    count = 200_000
    levels = made.draw((torch.arange(count, dtype=torch.float64) + 0.5) / count, torch.arange(count))
    assert levels.bin is not None
    shares = torch.bincount(levels.bin, minlength=STEPS) / count
    probabilities = history_of(made).probabilities()
    assert float((shares - probabilities).abs().max()) <= 1 / count
    weights = torch.zeros(STEPS, dtype=torch.float64).scatter_(0, levels.bin, levels.weight)
    torch.testing.assert_close((probabilities * weights * values).sum(), values.mean(), rtol=1e-12, atol=0)
    # The weight is at most 1 / uniform_share = 1000, but here at most 20 or so:
    # T terms off by w_t f_t / count each.
    error = float((weights * values).sum()) / count
    assert abs(float((levels.weight * values[levels.bin]).mean() - values.mean())) <= error


def test_levels_are_those_of_the_drawn_timesteps() -> None:
    made, _ = warmed(LossSecondMoment())
    levels = made.draw(uniforms(500), torch.arange(500))
    assert levels.bin is not None
    assert torch.equal(CHAIN.timestep(levels.sigma), levels.bin)
    assert levels.sigma.tolist() == [CHAIN.sigmas[t] for t in levels.bin.tolist()]


def test_rings_hold_the_last_losses_even_of_many_at_one_timestep() -> None:
    generator = torch.Generator().manual_seed(1)
    made = LossHistory(4, 3, 0.001, "cpu")
    remembered = [deque[float](maxlen=3) for _ in range(4)]
    for _ in range(6):
        timestep = torch.randint(
            0, 4, (17,), generator=generator
        )  # about four of each: some rings turn in one batch
        losses = torch.rand(17, generator=generator, dtype=torch.float64)
        made.record(timestep, losses)
        for t, loss in zip(timestep.tolist(), losses.tolist(), strict=True):
            remembered[t].append(loss)
        for t in range(4):
            seen = int(made.seen[t])
            kept = [float(made.losses[t, n % 3]) for n in range(max(0, seen - 3), seen)]
            assert kept == list(remembered[t])
    assert int(made.seen.sum()) == 6 * 17


def test_recording_in_parts_is_recording_at_once() -> None:
    timestep, losses = (
        torch.randint(0, STEPS, (300,), generator=torch.Generator().manual_seed(2)),
        uniforms(300),
    )
    once, parts = drawer(LossSecondMoment(history=4)), drawer(LossSecondMoment(history=4))
    once.record(timestep, losses)
    for chunk in (slice(0, 7), slice(7, 200), slice(200, 300)):
        parts.record(timestep[chunk], losses[chunk])
    assert all(torch.equal(value, parts.tensors()[name]) for name, value in once.tensors().items())


def test_a_restored_drawer_goes_on_bit_for_bit() -> None:
    levels = LossSecondMoment(history=2, stratified=True)
    made, _ = warmed(levels)
    saved = {name: tensor.clone() for name, tensor in made.tensors().items()}
    restored = drawer(levels)
    restored.restore(saved)
    for step in range(5):
        u, positions = uniforms(64, step), torch.arange(64) + 64 * step
        ours, theirs = made.draw(u, positions), restored.draw(u, positions)
        assert torch.equal(ours.sigma, theirs.sigma)
        assert torch.equal(ours.weight, theirs.weight)
        for one, drawn in ((made, ours), (restored, theirs)):
            assert drawn.bin is not None
            one.record(drawn.bin, 1 / (1 + drawn.sigma))
    assert torch.equal(history_of(made).losses, history_of(restored).losses)
    assert not torch.equal(saved["losses"], history_of(restored).losses)


def test_without_a_history_nothing_is_checkpointed() -> None:
    made = drawer(UniformTime())
    assert made.tensors() == {}
    made.restore({})


def test_a_loss_that_is_not_a_number_does_not_break_the_next_draw() -> None:
    made, _ = warmed(LossSecondMoment())
    made.record(torch.tensor([3]), torch.tensor([float("nan")]))
    levels = made.draw(uniforms(64), torch.arange(64))
    assert levels.weight.isnan().all()


def test_a_history_needs_timesteps() -> None:
    design = Design(EdmProcess(), "F", UniformWeight(), LossSecondMoment())
    with pytest.raises(ValueError, match="needs a discrete process"):
        LevelDrawer(design, 8)
