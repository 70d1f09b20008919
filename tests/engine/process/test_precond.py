"""Preconditioning: exact for every process and target, the four published columns, and whitening."""

import itertools

import pytest
import torch
from torch import Tensor

from engine.process.precond import PUBLISHED, Preconditioning, whitening
from engine.process.processes import PROCESSES, DiscreteProcess, FlowProcess, ProcessBase, VpProcess
from engine.process.schedules import TERMINAL_SIGMA, vp_sigmas
from engine.process.targets import TARGETS, TargetName, mix

VARIANTS: list[ProcessBase] = [*(process() for process in PROCESSES.values()), FlowProcess(path="vp")]
each_design = pytest.mark.parametrize(
    ("process", "target"), list(itertools.product(VARIANTS, TARGETS)), ids=lambda part: repr(part)
)
ROUNDING = 2.0**-53
SIGMA = torch.logspace(-3, 3, 61, dtype=torch.float64)
X0, EPS = (
    torch.tensor([[0.7], [-0.9]], dtype=torch.float64),
    torch.tensor([[-1.3], [0.4]], dtype=torch.float64),
)


@each_design
def test_the_true_target_gives_the_true_image(process: ProcessBase, target: TargetName) -> None:
    c = Preconditioning(process, target)(SIGMA)
    x0_hat = c.c_skip * (X0 + SIGMA * EPS) + c.c_out * (c.p * X0 + c.q * EPS)
    # Four products are added, with coefficients of up to a dozen roundings.
    sizes = c.c_skip.abs() * (X0.abs() + SIGMA * EPS.abs())
    sizes = sizes + c.c_out.abs() * ((c.p * X0).abs() + (c.q * EPS).abs())
    assert bool(((x0_hat - X0).abs() <= 32 * ROUNDING * sizes).all())


@each_design
def test_the_network_is_fed_the_processs_own_images(process: ProcessBase, target: TargetName) -> None:
    c = Preconditioning(process, target)(SIGMA)
    expected = 1 / (SIGMA**2 + 0.25).sqrt() if target == "F" else process.scale(SIGMA)
    assert torch.equal(c.c_in, expected)
    assert torch.equal(c.c_noise, process.c_noise(SIGMA))


def columns_of_table_1(name: str, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(c_skip, c_out, c_in, c_noise) as P3's Table 1 prints them."""
    one = torch.ones_like(sigma)
    match name:
        case "vp":  # beta_d = 19.9, beta_min = 0.1, M = 1000
            time = ((0.1**2 + 2 * 19.9 * (sigma**2 + 1).log()).sqrt() - 0.1) / 19.9
            return one, -sigma, 1 / (sigma**2 + 1).sqrt(), 999 * time
        case "ve":
            return one, sigma, one, (sigma / 2).log()
        case "iddpm":  # M - 1 - argmin |u_j - sigma| over u falling from u_0
            falling = torch.tensor(vp_sigmas("cosine", 1000), dtype=torch.float64).flip(0)
            nearest = (falling - sigma[:, None]).abs().argmin(1)
            return one, -sigma, 1 / (sigma**2 + 1).sqrt(), 999 - nearest.double()
        case _:
            whole = sigma**2 + 0.25
            return 0.25 / whole, sigma * 0.5 / whole.sqrt(), 1 / whole.sqrt(), sigma.log() / 4


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_columns(name: str) -> None:
    # At levels of iDDPM's table, where nearest in sigma and nearest in log sigma are the same.
    sigma = torch.tensor(vp_sigmas("cosine", 1000), dtype=torch.float64)[::37]
    c = PUBLISHED[name](sigma)
    c_skip, c_out, c_in, c_noise = columns_of_table_1(name, sigma)
    # VE's network there predicts -eps.
    assert torch.allclose(c.c_out, -c_out if name == "ve" else c_out, rtol=1e-13, atol=0)
    assert torch.allclose(c.c_skip, c_skip, rtol=1e-13, atol=0)
    assert torch.allclose(c.c_in, c_in, rtol=1e-13, atol=0)
    # VP's time at sigma = 0.006 loses digits in ln(1 + sigma^2) as the table writes it: 1e-16 / 4e-5.
    assert torch.allclose(c.c_noise, c_noise, rtol=1e-10, atol=0)


@each_design
@pytest.mark.parametrize("sigma_data", [0.5, 1.0])
def test_whitening_leaves_unit_variance_which_is_edms_f(
    process: ProcessBase, target: TargetName, sigma_data: float
) -> None:
    skip, out = whitening(target, SIGMA, process, sigma_data)
    parts, f = mix(target, SIGMA, process, sigma_data), mix("F", SIGMA, process, sigma_data)
    # p - skip and q - skip sigma may cancel: rounding of the larger terms relative to what is left, `out`
    # times F's own p and q.
    p, q = (parts.p - skip) / out, (parts.q - skip * SIGMA) / out
    error = 32 * ROUNDING * (parts.p.abs() + parts.q.abs() + skip.abs() * (1 + SIGMA)) / out
    signs = torch.sign(p * f.p + q * f.q)
    assert len(signs.unique()) == 1
    assert bool(((p * signs - f.p).abs() <= error).all())
    assert bool(((q * signs - f.q).abs() <= error).all())
    variance = p**2 * sigma_data**2 + q**2
    assert bool(((variance - 1).abs() <= 4 * error + ROUNDING * 8).all())


def test_the_seeds_row_for_v_holds_only_at_unit_data() -> None:
    skip, out = whitening("v", SIGMA, VpProcess(), 1.0)
    assert torch.allclose(skip, torch.zeros_like(skip), atol=1e-15)
    assert torch.allclose(out, torch.ones_like(out), rtol=1e-14)
    skip, out = whitening("v", SIGMA, VpProcess(), 0.5)
    assert float(skip.abs().max()) > 0.3


def test_the_last_timestep_of_a_chain_that_ends_in_pure_noise_is_usable_in_single_precision() -> None:
    process = DiscreteProcess(zero_terminal_snr=True)
    c = Preconditioning(process, "v")(torch.tensor([TERMINAL_SIGMA], dtype=torch.float64))
    x = (X0 + TERMINAL_SIGMA * EPS).float()
    x0_hat = c.c_skip.float() * x + c.c_out.float() * (c.p * X0 + c.q * EPS).float()
    # c_skip sigma = 2^-27 is below the rounding of x0: x0_hat is -v.
    assert torch.allclose(x0_hat.double(), X0, rtol=0, atol=4 * 2.0**-24)
    assert c.c_noise.tolist() == [999.0]


def test_at_pure_noise_errors_of_eps_are_magnified_by_sigma() -> None:
    c = Preconditioning(DiscreteProcess(zero_terminal_snr=True), "eps")(
        torch.tensor([TERMINAL_SIGMA], dtype=torch.float64)
    )
    assert c.c_out.tolist() == [-TERMINAL_SIGMA]  # any error of eps becomes this many times larger in x0_hat
