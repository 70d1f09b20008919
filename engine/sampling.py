"""From a denoiser and a sampler to images, keyed by sample index and evaluated at one fixed batch shape."""

import torch
from torch import Tensor

from engine.data.datasets import to_uint8
from engine.denoiser import Denoiser
from engine.noise import Purpose, normal
from engine.samplers import SamplerBase


@torch.inference_mode()
def generate(
    denoiser: Denoiser,
    sampler: SamplerBase,
    *,
    indices: Tensor,
    shape: tuple[int, int, int],
    seed: int,
    batch_size: int,
    num_classes: int | None = None,
) -> Tensor:
    """Images uint8 [len(indices), C, H, W] on the CPU, one for each sample index.

    An image depends only on (seed, its index, the sampler, the weights): latents and step noise are keyed, and the
    network always sees `batch_size` images (the last batch is padded), so on one kind of device images are equal bit
    for bit however the indices are split. With `num_classes`, index i gets class i modulo num_classes.
    """
    device = next(denoiser.parameters()).device
    denoiser.eval()
    parts = []
    for chunk in indices.split(batch_size):
        keys = torch.nn.functional.pad(chunk, (0, batch_size - len(chunk))).to(device)
        label = keys % num_classes if num_classes is not None else None

        def denoise(x: Tensor, sigma: float, label: Tensor | None = label) -> Tensor:
            x0_hat: Tensor = denoiser(x, sigma, label)
            return x0_hat

        def step_noise(step: int, keys: Tensor = keys) -> Tensor:
            return normal(seed, Purpose.SAMPLER_STEP, keys, shape, step)

        x0 = sampler.sample(denoise, normal(seed, Purpose.LATENT, keys, shape), step_noise)
        parts.append(to_uint8(x0)[: len(chunk)].cpu())
    return torch.cat(parts)
