"""From a denoiser and a sampler to images, keyed by sample index and evaluated at one fixed batch shape."""

import torch
from torch import Tensor

from engine.data.catalog import CATALOG
from engine.data.datasets import to_uint8
from engine.data.images import save_grid
from engine.denoiser import Denoiser
from engine.guidance import Guided
from engine.noise import Purpose, normal
from engine.samplers import SamplerBase
from engine.spec import Experiment

PANEL_ROWS = 8
PANEL_PIXELS = 32


def draw(
    denoiser: Denoiser, experiment: Experiment, sampler: SamplerBase, *, count: int, seed: int, batch_size: int
) -> Tensor:
    """The experiment's images of sample indices 0 .. count - 1, uint8 [count, C, H, W]."""
    info = CATALOG[experiment.data.name]
    return generate(
        denoiser,
        sampler,
        indices=torch.arange(count),
        shape=(info.channels, info.resolution, info.resolution),
        seed=seed,
        batch_size=batch_size,
        num_classes=info.num_classes if experiment.model.class_conditional else None,
    )


def panel_size(experiment: Experiment) -> tuple[int, int]:
    """Images and columns of a sample panel: a column for each class where there are few, else 8 by 8."""
    classes = CATALOG[experiment.data.name].num_classes
    columns = classes if experiment.model.class_conditional and classes <= 10 else PANEL_ROWS
    return PANEL_ROWS * columns, columns


def panel_png(images: Tensor, experiment: Experiment) -> bytes:
    """PNG bytes of the first images as a panel, small images enlarged."""
    count, columns = panel_size(experiment)
    return save_grid(images[:count], columns=columns, scale=max(1, PANEL_PIXELS // images.shape[-1]))


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

        def step_noise(step: int, keys: Tensor = keys) -> Tensor:
            return normal(seed, Purpose.SAMPLER_STEP, keys, shape, step)

        latents = normal(seed, Purpose.LATENT, keys, shape)
        x0 = sampler.sample(Guided(denoiser, label, sampler.guidance), latents, step_noise)
        parts.append(to_uint8(x0)[: len(chunk)].cpu())
    return torch.cat(parts)
