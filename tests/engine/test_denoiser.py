"""The denoiser: what it feeds the network, what it gives back, what it counts."""

import pytest
import torch
from torch import Tensor, nn

from engine.denoiser import Denoiser
from engine.process.precond import Preconditioning
from engine.process.processes import DiscreteProcess, EdmProcess, VpProcess

EDM = Preconditioning(EdmProcess(), "F")


class Recorder(nn.Module):
    """Gives the same output for every pixel and remembers what it was given."""

    def __init__(self, output: float = 0.0, channels: int = 1) -> None:
        super().__init__()
        self.output, self.channels = output, channels
        self.seen: tuple[Tensor, ...] = ()

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None, augment: Tensor | None) -> Tensor:
        self.seen = tuple(value for value in (x, c_noise, label, augment) if value is not None)
        parts = [torch.full_like(x, self.output + number) for number in range(self.channels)]
        return torch.cat(parts, dim=1)


def images(count: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.ones(count, 1, 2, 2, dtype=dtype)


def test_it_keeps_the_dtype_counts_evaluations_and_takes_one_or_many_noise_levels() -> None:
    net = Recorder()
    denoiser, x = Denoiser(net, EDM), images()
    one, many = denoiser(x, 2.0), denoiser(x, torch.full((3,), 2.0, dtype=torch.float64))
    assert net.seen[0].dtype == net.seen[1].dtype == torch.float32
    assert one.dtype == torch.float64
    assert torch.equal(one, many)
    assert denoiser.nfe == 2
    # c_skip = 0.25 / (0.25 + 4).
    assert torch.allclose(one, torch.full_like(x, 0.25 / 4.25), rtol=1e-15)


@pytest.mark.parametrize(
    "precond", [EDM, Preconditioning(VpProcess(), "v"), Preconditioning(DiscreteProcess(), "eps")], ids=repr
)
def test_the_network_gets_scaled_images_and_c_noise_and_its_output_is_scaled(
    precond: Preconditioning,
) -> None:
    net, x = Recorder(output=0.5), images(2)
    sigma = torch.tensor([0.3, 5.0], dtype=torch.float64)
    x0_hat, c = Denoiser(net, precond)(x, sigma), precond(sigma)
    assert torch.equal(net.seen[0], (c.c_in[:, None, None, None] * x).float())
    assert torch.equal(net.seen[1], c.c_noise.float())
    expected = (c.c_skip + 0.5 * c.c_out)[:, None, None, None]
    assert torch.allclose(x0_hat, expected.expand_as(x), rtol=1e-14)


def test_labels_and_augmentation_labels_reach_the_network() -> None:
    net, label, augment = Recorder(), torch.tensor([1, 4, 1]), torch.rand(3, 9)
    Denoiser(net, EDM).output(images(), torch.ones(3, dtype=torch.float64), label, augment)
    assert torch.equal(net.seen[2], label)
    assert torch.equal(net.seen[3], augment)


def test_a_second_half_of_the_channels_is_the_variance_and_does_not_change_the_mean() -> None:
    one, two = Denoiser(Recorder(0.5), EDM), Denoiser(Recorder(0.5, channels=2), EDM)
    x = images(dtype=torch.float32)
    assert torch.equal(one(x, 2.0), two(x, 2.0))
    posterior = two.posterior(x, 2.0)
    assert torch.equal(posterior.x0_hat, two(x, 2.0))
    assert posterior.range_fraction is not None
    assert torch.equal(posterior.range_fraction, torch.full_like(x, 1.5))
    assert posterior.x0_variance is None
    assert one.posterior(x, 2.0).range_fraction is None


def test_a_variance_model_gets_noise_levels_and_head_output() -> None:
    def variance_model(sigma: Tensor, head: Tensor | None, eps_hat: Tensor) -> Tensor:
        assert head is not None
        assert eps_hat.shape == head.shape
        return sigma[:, None, None, None] * head

    class Headed(Recorder):
        def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
            output = super().forward(*inputs)
            return output, output[:, 1:]

    denoiser = Denoiser(Headed(0.5, channels=2), EDM, variance_model=variance_model)
    posterior = denoiser.posterior(images(dtype=torch.float32), 2.0)
    assert posterior.x0_variance is not None
    assert posterior.x0_variance.dtype == torch.float32
    assert torch.equal(posterior.x0_variance, torch.full((3, 1, 2, 2), 3.0))
    assert posterior.range_fraction is not None
    assert torch.equal(posterior.range_fraction, torch.full((3, 1, 2, 2), 1.5))
    assert denoiser.nfe == 1


def test_only_the_network_runs_in_half_precision() -> None:
    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(1, 1, 1)
            self.dtypes: list[torch.dtype] = []

        def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None, augment: Tensor | None) -> Tensor:
            output: Tensor = self.layer(x)
            self.dtypes = [x.dtype, output.dtype]
            return output

    net = Linear()
    output = Denoiser(net, EDM, "bf16").output(images(), torch.ones(3, dtype=torch.float64), None)
    assert net.dtypes == [torch.float32, torch.bfloat16]
    assert output.target.dtype == torch.float32
    assert output.coefficients.c_out.dtype == torch.float64
