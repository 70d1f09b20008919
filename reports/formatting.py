"""How fields and numbers are written for people. How a metric is called, its manifest says."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence

AXES = {
    "data.augment": "augmentation",
    "data.x_flip": "x-flip",
    "model.channels": "C",
    "model.channel_mult": "channel multipliers",
    "model.num_blocks": "blocks per level",
    "model.attention_resolutions": "attention at",
    "model.width_divisor": "width divisor",
    "model.depth": "depth",
    "model.width": "width",
    "model.num_heads": "heads",
    "model.patch_size": "patch",
    "model.flops_ratio": "FLOPs budget",
    "model.routes": "may skip",
    "model.complete_kimg": "L_complete (kimg)",
    "objective.num_timesteps": "T",
    "objective.warmup_kimg": "warm-up (kimg)",
    "objective.time_scale": "timesteps told as",
    "objective.schedule": "noise schedule",
    "objective.vlb_weight": "λ",
    "objective.sigma_data": "σ_data",
    "objective.p_mean": "P_mean",
    "objective.p_std": "P_std",
    "objective.weighting.gamma": "γ",
    "train.lr": "learning rate",
    "train.lr_rampup_kimg": "ramp-up (kimg)",
    "train.lr_decay": "learning-rate decay",
    "train.lr_decay_kimg": "decay from (kimg)",
    "train.adam_betas": "Adam β₁-β₂",
    "train.adam_eps": "Adam ε",
    "train.grad_clip.kind": "clipping",
    "train.batch_size": "batch",
    "train.total_kimg": "length (kimg)",
    "train.compile": "torch.compile",
    "train.checkpointing": "checkpointing",
    "train.ema_halflife_kimg": "EMA half-life (kimg)",
    "train.seed": "training seed",
    "weights.halflife_kimg": "EMA half-life (kimg)",
    "weights.sigma_rel": "EMA width",
    "sample": "sampler",
    "sample.kind": "solver",
    "sample.num_steps": "N",
    "sample.s_churn": "S_churn",
    "sample.s_tmin": "S_tmin",
    "sample.s_tmax": "S_tmax",
    "sample.s_noise": "S_noise",
    "sample.eta": "η",
    "sample.sigma_min": "σ_min",
    "sample.sigma_max": "σ_max",
    "sample.rho": "ρ",
    "sample.guidance": "w",
    "sample.guidance_channels": "guided channels",
    "sample.noise_schedule": "sigma(t)",
    "sample.scaling": "s(t)",
    "sample.tau": "τ",
    "sample.schedule": "sampler's schedule",
    "sample.grid": "noise levels",
}
"""The papers' symbols for fields; any other is called by its last part, a kind by its section."""


def axis_label(field: str) -> str:
    """Symbol or plain name of a dotted field: `model.channels` is "C", `objective.kind` is "objective"."""
    return AXES.get(field, field.removesuffix(".kind").rsplit(".", 1)[-1].replace("_", " "))


def value_text(value: object) -> str:
    """A value of an axis: 16 -> "16", [1, 2] -> "1-2", [] -> "none", {"kind": "heun"} -> "heun"."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return " ".join(value_text(part) for part in value.values())
    if isinstance(value, list | tuple):
        return "-".join(value_text(part) for part in value) or "none"
    return "none" if value is None else str(value)


def describe(axes: Mapping[str, object]) -> str:
    """Axes as an equation each: {"model.channels": 16} -> "C = 16"."""
    return ", ".join(f"{axis_label(field)} = {value_text(value)}" for field, value in axes.items())


def significant(value: float | None, digits: int = 3) -> str:
    """At least `digits` significant digits, no exponent: 3.14159 -> "3.14", 1234 -> "1,234", None -> "—"."""
    if value is None or not math.isfinite(value):
        return "—" if value is None or math.isnan(value) else "∞"
    return fixed(value, decimals([value], digits))


def decimals(values: Iterable[float], digits: int = 3) -> int:
    """Decimal places that give the smallest value of a column `digits` significant digits, 5 at most."""
    sizes = [abs(value) for value in values if math.isfinite(value) and value != 0]
    if not sizes:
        return 0
    return min(5, max(0, digits - 1 - math.floor(math.log10(min(sizes)))))


def fixed(value: float, places: int, signed: bool = False) -> str:
    """A number with thousands separators and a true minus sign."""
    text = f"{value:+,.{places}f}" if signed else f"{value:,.{places}f}"
    return text.replace("-", "−")


def scaled(value: float | None, digits: int = 3) -> str:
    """A large count in thousands, millions or billions: 1234567 -> "1.23 M"."""
    if value is None or not math.isfinite(value):
        return "—"
    for size, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return significant(value / size, digits) + unit
    return f"{value:.0f}"


def percent(fraction: float) -> str:
    """A fraction in per cent with one decimal: 0.302 -> "30.2%"."""
    return f"{100 * fraction:.1f}%"


def counted(number: int, noun: str) -> str:
    """A number with its noun: (1, "cell") -> "1 cell", (4, "cell") -> "4 cells"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def short_ids(ids: Sequence[str], shown: int = 3) -> str:
    """The first characters of the first few ids: enough to find them in the store."""
    rest = [f"+{len(ids) - shown}"] if len(ids) > shown else []
    return " · ".join([*(one[:8] for one in ids[:shown]), *rest])


def listed(words: Sequence[str]) -> str:
    """Words joined as in a sentence: "a, b and c"."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def sentence(text: str) -> str:
    """Text with a capital and a full stop."""
    return text[:1].upper() + text[1:].rstrip(".") + "."


def without_credentials(text: str) -> str:
    """Text whose URLs have lost their user names and passwords."""
    return re.sub(r"(\w://)[^/\s@]+@", r"\1***@", text)
