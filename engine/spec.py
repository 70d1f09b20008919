"""The typed, frozen configuration of one experiment: data, model, objective, train, sample, eval. Imports no torch."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from engine.frozen import Frozen
from engine.process.schedules import ScheduleName
from engine.samplers import Heun, Sampler

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


class Train(Frozen):
    """How the weights are found; one kimg is a thousand images shown."""

    seed: int = Field(default=0, ge=0)
    """Keys the initial weights, the order of images and every noise draw."""
    batch_size: int = Field(default=512, ge=1)
    """Images a step, over all workers together."""
    microbatch_size: int | None = Field(default=None, ge=1)
    """Images a forward pass; None takes a worker's whole share. Fixed, the result does not depend on the workers."""
    total_kimg: float = Field(gt=0)
    """Length of training."""
    snapshot_kimg: float = Field(gt=0)
    """Interval between snapshots; curves and checkpoints are written as often."""
    lr: float = Field(default=1e-3, gt=0)
    """Learning rate after the ramp."""
    lr_rampup_kimg: float = Field(default=10_000, ge=0)
    """Linear learning-rate ramp from 0."""
    ema_halflife_kimg: float = Field(default=500, ge=0)
    """Half-life of the weights' moving average."""
    ema_rampup_ratio: float | None = Field(default=0.05, gt=0)
    """Early on the half-life is at most this fraction of the images shown; None turns the ramp off."""
    grad_clip_norm: float | None = Field(default=None, gt=0)
    """Clip the global gradient norm; off by default [P3; playbook 4.3]."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic inside the network; master weights are always fp32."""

    @model_validator(mode="after")
    def _check_sizes(self) -> "Train":
        if self.microbatch_size is not None and self.batch_size % self.microbatch_size:
            raise ValueError(f"batch_size {self.batch_size} is no multiple of microbatch_size {self.microbatch_size}")
        if self.snapshot_kimg > self.total_kimg:
            raise ValueError(f"snapshot_kimg {self.snapshot_kimg:g} exceeds total_kimg {self.total_kimg:g}")
        if self.batch_size > self.snapshot_kimg * 1000:
            raise ValueError(
                f"batch_size {self.batch_size} exceeds one snapshot interval ({self.snapshot_kimg:g} kimg)"
            )
        return self

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the whole training."""
        return round(self.total_kimg * 1000 / self.batch_size)

    @property
    def snapshot_steps(self) -> tuple[int, ...]:
        """Steps after which a snapshot is kept: evenly spread, as near to every interval as whole steps allow."""
        count = max(1, round(self.total_kimg / self.snapshot_kimg))
        return tuple(round(number * self.num_steps / count) for number in range(1, count + 1))

    @property
    def snapshot_images(self) -> tuple[int, ...]:
        """Images shown at each snapshot."""
        return tuple(step * self.batch_size for step in self.snapshot_steps)


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
