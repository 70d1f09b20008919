"""How the weights are found: batches, learning rate, averages and precision of one training. Imports no torch."""

from typing import Literal

from pydantic import Field, model_validator

from engine.frozen import Frozen


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
