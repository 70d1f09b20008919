"""How the weights are found: batches, learning rate, averages and precision of one training.
Imports no torch."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from engine.frozen import Frozen

Precision = Literal["fp32", "bf16", "fp16"]
"""Arithmetic of the network's layers."""

Compile = Literal["off", "default", "max"]
"""Whether torch.compile makes the kernels of training."""

UNIFORM_SIGMA_REL = 12**-0.5
"""Relative width of the uniform average over the whole training: the widest power-function average."""

Beta = Annotated[float, Field(ge=0, lt=1)]
SigmaRel = Annotated[float, Field(gt=0, lt=UNIFORM_SIGMA_REL)]


class GlobalNormClip(Frozen):
    """Scale all gradients together so that their joint norm is at most `max_norm`."""

    kind: Literal["global_norm"] = "global_norm"
    max_norm: float = Field(gt=0)
    """Largest norm."""


class LayerNormClip(Frozen):
    """Scale each parameter tensor's gradient on its own so that its norm is at most `max_norm`."""

    kind: Literal["layer_norm"] = "layer_norm"
    max_norm: float = Field(gt=0)
    """Largest norm."""


class ValueClip(Frozen):
    """Clamp every entry of the gradients to [-max_value, max_value]."""

    kind: Literal["value"] = "value"
    max_value: float = Field(gt=0)
    """Largest magnitude of an entry."""


class AdaptiveClip(Frozen):
    """Keep each unit's gradient norm within `ratio` of the norm of its weights (Brock et al. 2021, AGC)."""

    kind: Literal["adaptive"] = "adaptive"
    ratio: float = Field(default=0.01, gt=0)
    """Largest gradient norm as a fraction of the weight norm."""
    eps: float = Field(default=1e-3, gt=0)
    """Weight norms below this count as this, so that units that start at zero can learn."""


class SkipStep(Frozen):
    """Leave a step out whose gradients' joint norm is above `max_norm`, and change no gradient [P5, code]."""

    kind: Literal["skip"] = "skip"
    max_norm: float = Field(gt=0)
    """Largest norm of a step that is made."""


Clip = Annotated[
    GlobalNormClip | LayerNormClip | ValueClip | AdaptiveClip | SkipStep, Field(discriminator="kind")
]
"""Any rule for clipping gradients, told apart by its `kind`."""


class Train(Frozen):
    """How the weights are found; one kimg is a thousand images shown."""

    seed: int = Field(default=0, ge=0)
    """Keys the initial weights, the order of images and every noise draw."""
    batch_size: int = Field(default=512, ge=1)
    """Images a step, over all workers together."""
    microbatch_size: int | None = Field(default=None, ge=1)
    """Images a forward pass; None takes a worker's whole share. With one microbatch a worker, two workers
    give one's result to the last bit; other splits differ from it by the rounding of a sum."""
    total_kimg: float = Field(gt=0)
    """Length of training."""
    snapshot_kimg: float = Field(gt=0)
    """Interval between snapshots; curves and checkpoints are written as often."""
    optimizer: Literal["adam", "adamw"] = "adam"
    """Adam, or AdamW with its decoupled weight decay."""
    lr: float = Field(default=1e-3, gt=0)
    """Learning rate after the ramp, before any decay."""
    lr_rampup_kimg: float = Field(default=10_000, ge=0)
    """Linear learning-rate ramp from 0."""
    lr_first_step: Literal["ramp", "zero"] = "ramp"
    """The very first step's rate. ramp: the ramp's, 0 with one and all of `lr` without (P1, DiT);
    zero: 0 without a ramp too, as EDM's code has it, which counts images before the step."""
    lr_decay: Literal["none", "inverse_sqrt", "cosine", "linear"] = "none"
    """inverse_sqrt: 1 / sqrt(images / lr_decay_kimg) after it (EDM2);
    cosine, linear: to 0, from the ramp's end."""
    lr_decay_kimg: float | None = Field(default=None, gt=0)
    """Where the inverse_sqrt decay begins."""
    adam_betas: Annotated[tuple[Beta, Beta], Field(strict=False)] = (0.9, 0.999)
    """Decay a step of Adam's two moment estimates."""
    adam_eps: float = Field(default=1e-8, gt=0)
    """Added to the root of Adam's second moment."""
    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW only: each step shrinks every parameter by the learning rate times this."""
    grad_clip: Clip | None = None
    """Clip gradients; off by default [P3; playbook 4.3]."""
    precision: Precision = "fp32"
    """Arithmetic inside the network; master weights are always fp32.
    fp16 trains with a dynamic loss scale."""
    compile: Compile = "off"
    """Compile the network for training with torch.compile: quickly, or (max) trying many kernels;
    off runs it as is."""
    checkpointing: bool = False
    """Keep only the blocks' inputs for the backward pass and compute the rest again:
    less memory, more time."""
    on_non_finite: Literal["stop", "fp32"] = "stop"
    """When the loss is not finite: stop, or go back to the
    last checkpoint once and go on in fp32 [playbook 4.3]."""
    ema_halflife_kimg: float = Field(default=500, ge=0)
    """Half-life of the weights' moving average."""
    ema_rampup_ratio: float | None = Field(default=0.05, gt=0)
    """Early on the half-life is at most this fraction of the images shown; None turns the ramp off."""
    ema_extra_halflives_kimg: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(strict=False)] = ()
    """Half-lives of further moving averages, kept beside the first one and ramped like it."""
    ema_power: Annotated[tuple[SigmaRel, ...], Field(strict=False)] = ()
    """Relative widths of power-function averages (EDM2: 0.05 and 0.10);
    two allow other widths after training."""
    keep_raw: bool = False
    """Keep the weights that are not averaged with every snapshot too."""

    @model_validator(mode="after")
    def _check_sizes(self) -> "Train":
        if self.microbatch_size is not None and self.batch_size % self.microbatch_size:
            raise ValueError(
                f"batch_size {self.batch_size} is no multiple of microbatch_size {self.microbatch_size}"
            )
        if self.snapshot_kimg > self.total_kimg:
            raise ValueError(f"snapshot_kimg {self.snapshot_kimg:g} exceeds total_kimg {self.total_kimg:g}")
        if self.batch_size > self.snapshot_kimg * 1000:
            raise ValueError(
                f"batch_size {self.batch_size} exceeds one snapshot interval ({self.snapshot_kimg:g} kimg)"
            )
        return self

    @model_validator(mode="after")
    def _check_optimizer(self) -> "Train":
        if self.optimizer == "adam" and self.weight_decay:
            raise ValueError("weight_decay belongs to optimizer: adamw")
        if (self.lr_decay == "inverse_sqrt") != (self.lr_decay_kimg is not None):
            raise ValueError("lr_decay: inverse_sqrt and lr_decay_kimg need each other")
        if self.lr_decay in ("cosine", "linear") and self.lr_rampup_kimg >= self.total_kimg:
            raise ValueError(
                f"lr_decay: {self.lr_decay} needs a ramp (lr_rampup_kimg) shorter than total_kimg"
            )
        return self

    @model_validator(mode="after")
    def _check_averages(self) -> "Train":
        halflives = [f"{length:g}" for length in (self.ema_halflife_kimg, *self.ema_extra_halflives_kimg)]
        if len(set(halflives)) < len(halflives):
            raise ValueError(f"the half-lives {', '.join(halflives)} kimg repeat themselves")
        widths = [f"{width:g}" for width in self.ema_power]
        if len(set(widths)) < len(widths):
            raise ValueError(f"the widths {', '.join(widths)} in ema_power repeat themselves")
        return self

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the whole training."""
        return round(self.total_kimg * 1000 / self.batch_size)

    @property
    def snapshot_steps(self) -> tuple[int, ...]:
        """Steps after which a snapshot is kept: evenly spread,
        as near to every interval as whole steps allow."""
        count = max(1, round(self.total_kimg / self.snapshot_kimg))
        return tuple(round(number * self.num_steps / count) for number in range(1, count + 1))

    @property
    def snapshot_images(self) -> tuple[int, ...]:
        """Images shown at each snapshot."""
        return tuple(step * self.batch_size for step in self.snapshot_steps)
