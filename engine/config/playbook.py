"""The papers' discrete levels and tables as constants, each with its source."""

from engine.backbones.registry import BACKBONES

# iDDPM's reference learning rate at C = 128 [P1 p11; playbook A.6].
UNET_REFERENCE_CHANNELS = 128
UNET_REFERENCE_LR = 1e-4

# DyDiT's fine-tuning steps and warm-up steps of L_complete, at 256 images a step [P5 Table 6; playbook A.2].
DYDIT_BATCH = 256
DYDIT_STEPS = {"S": 50_000, "B": 100_000, "XL": 200_000}
DYDIT_XL_STEPS_AT_07 = 150_000
DYDIT_WARMUP_STEPS = {"S": 0, "B": 0, "XL": 30_000}

# Stochastic sampling grid [P3 Table 5; playbook A.3]: 11 x 12 x 9 x 11 = 13,068 configurations.
S_CHURN = tuple(float(value) for value in range(0, 101, 10))
S_TMIN = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
S_TMAX = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 80.0)
S_NOISE = tuple(round(1.0 + step / 1000, 3) for step in range(11))

# DDIM's step counts and stochasticity [P2 Table 1; playbook 5.1].
DDIM_STEPS = (10, 20, 50, 100)
DDIM_ETA = (0.0, 0.2, 0.5, 1.0)


def _model_levels() -> dict[str, tuple[float, ...]]:
    """The levels that any kind of network gives a field, those of all kinds together."""
    found: dict[str, tuple[float, ...]] = {}
    for kind in BACKBONES.values():
        for field, levels in kind.levels.items():
            found[f"model.{field}"] = tuple(dict.fromkeys((*found.get(f"model.{field}", ()), *levels)))
    return found


LEVELS: dict[str, tuple[float, ...]] = {
    **_model_levels(),
    "sample.s_churn": S_CHURN,
    "sample.s_tmin": S_TMIN,
    "sample.s_tmax": S_TMAX,
    "sample.s_noise": S_NOISE,
    "sample.eta": DDIM_ETA,
}
"""Values a sweep may give each field; anything else needs `off_playbook: true` and is shown in the report."""

KNOB_GROUPS: dict[str, tuple[str, ...]] = {
    "scale": ("model.channels", "model.depth", "model.width", "model.num_heads", "train.lr"),
    "budget": (
        "model.flops_ratio",
        "model.flops_weight",
        "model.routes",
        "model.dense_kimg",
        "model.ramp_kimg",
        "model.complete_kimg",
        "train.lr",
        "train.total_kimg",
        "train.grad_clip",
    ),
    "regularisation": (
        "model.dropout",
        "data.augment",
        "data.x_flip",
        "objective.schedule",
        "train.ema_halflife_kimg",
    ),
    "architecture": (
        "model.kind",
        "model.channel_mult",
        "model.num_blocks",
        "model.attention_resolutions",
        "model.patch_size",
    ),
    "optimisation": (
        "train.optimizer",
        "train.lr",
        "train.lr_rampup_kimg",
        "train.lr_decay",
        "train.lr_decay_kimg",
        "train.adam_betas",
        "train.adam_eps",
        "train.weight_decay",
        "train.batch_size",
        "train.grad_clip",
        "train.precision",
        "train.compile",
    ),
    "objective": ("objective",),
    "sampler": ("sample",),
    "weights": ("weights",),
}
"""What one sweep may vary at a time [playbook 0.4, 1.8, 5.5]: a group allows its paths and everything below
them."""
