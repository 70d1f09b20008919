"""The typed, frozen configuration of one experiment: data, model, objective, train, sample, eval. Imports no torch."""

from typing import Annotated, Literal

from pydantic import Field

from engine.frozen import Frozen
from engine.process.schedules import ScheduleName
from engine.samplers import Heun, Sampler
from engine.train_spec import Train

Ints = Annotated[tuple[int, ...], Field(strict=False, min_length=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]


class Data(Frozen):
    """Which images are learned."""

    name: Literal["digits", "cifar10", "fashion_mnist"]
    """digits: scikit-learn's 1,797 bundled 8x8 images; cifar10 and fashion_mnist: read from the data root."""
    x_flip: bool = False
    """Show every image mirrored half of the time (EDM keeps this off on CIFAR-10)."""


class DdpmPlusPlus(Frozen):
    """The DDPM++ U-Net as EDM trains it [P3 Table 8; playbook A.5]."""

    kind: Literal["ddpmpp"] = "ddpmpp"
    channels: int = Field(default=128, ge=1)
    """First-layer channels C; every level has C times its multiplier."""
    channel_mult: Ints = (2, 2, 2)
    """Channel multiplier of each resolution level, from the image size down by halves."""
    num_blocks: int = Field(default=4, ge=1)
    """Residual blocks a level."""
    attention_resolutions: Annotated[tuple[int, ...], Field(strict=False)] = (16,)
    """Resolutions, in pixels, whose blocks have self-attention."""
    dropout: Probability = 0.13
    """Dropout probability inside residual blocks."""
    class_conditional: bool = False
    """Feed the class label to the network."""
    width_divisor: int = Field(default=1, ge=1)
    """Divide every width by this. For smoke runs only: results say nothing about the published size."""


class UNet(Frozen):
    """The iDDPM U-Net: scale-shift conditioning, multi-head attention [P1 p11; playbook 2.0-2.3]."""

    kind: Literal["unet"] = "unet"
    channels: int = Field(default=128, ge=1)
    """First-layer channels C; every level has C times its multiplier."""
    channel_mult: Ints = (1, 2, 3, 4)
    """Channel multiplier of each resolution level, from the image size down by halves."""
    num_blocks: int = Field(default=3, ge=1)
    """Residual blocks a level (the way up has one more)."""
    attention_resolutions: Annotated[tuple[int, ...], Field(strict=False)] = (16, 8)
    """Resolutions, in pixels, whose blocks have self-attention."""
    num_heads: int = Field(default=4, ge=1)
    """Attention heads; the channels are divided among them."""
    dropout: Probability = 0.0
    """Dropout probability inside residual blocks."""
    class_conditional: bool = False
    """Feed the class label to the network."""
    width_divisor: int = Field(default=1, ge=1)
    """Divide every width by this. For smoke runs only: results say nothing about the published size."""


class EdmObjective(Frozen):
    """EDM: log-normal noise levels, its weighting and preconditioning as one group [P3 Table 1; playbook 2.4, 3.4]."""

    kind: Literal["edm"] = "edm"
    sigma_data: float = Field(default=0.5, gt=0)
    """Standard deviation of the data that the preconditioning assumes."""
    p_mean: float = -1.2
    """Mean of ln(sigma) during training."""
    p_std: float = Field(default=1.2, gt=0)
    """Standard deviation of ln(sigma) during training."""


class SimpleObjective(Frozen):
    """DDPM's L_simple: predict the noise at a uniformly drawn timestep [P1 Eq. 14; playbook 0.0, 3.1]."""

    kind: Literal["simple"] = "simple"
    schedule: ScheduleName = "linear"
    """Noise schedule of the discrete process."""
    num_timesteps: int = Field(default=1000, ge=2)
    """Length T of the process."""


class Selection(Frozen):
    """The locked deterministic sampler that picks the snapshot to report [playbook 5.6]."""

    sampler: Heun = Heun(num_steps=18)
    """Deterministic sampler; all snapshots share its latents."""
    num_samples: int = Field(default=10_000, ge=2)
    """Images per snapshot."""


class Evaluation(Frozen):
    """The evaluation protocol: the same for every cell of a sweep."""

    extractor: Literal["classifier", "inception"] = "classifier"
    """Feature space: a small CNN trained on the data set's labels, or Inception-v3."""
    num_samples: int = Field(default=10_000, ge=2)
    """Images per cell."""
    batch_size: int = Field(default=64, ge=1)
    """The one batch shape at which the network is evaluated; it makes images independent of how work is split."""
    sample_seed: int = Field(default=0, ge=0)
    """Keys the latents and every noise draw of sampling."""
    nearest_k: int = Field(default=3, ge=1)
    """Neighbours that span the manifold of precision and recall."""
    selection: Selection = Selection()
    """How the snapshot is chosen."""


Model = Annotated[DdpmPlusPlus | UNet, Field(discriminator="kind")]
Objective = Annotated[EdmObjective | SimpleObjective, Field(discriminator="kind")]


class Experiment(Frozen):
    """One complete experiment. A recipe is one of these; every point of a grid becomes one."""

    data: Data
    model: Model
    objective: Objective
    train: Train
    sample: Sampler
    eval: Evaluation
