"""The published networks as data: what each is made of, how large it is, and where that stands. Imports no
torch."""

from dataclasses import dataclass

from engine.config.model import Adm, DdpmPlusPlus, Dit, DyDit, Model, NcsnPlusPlus, UNet
from engine.config.network_shape import NetShape
from engine.config.playbook import DIT_SIZES, DYDIT_STEPS

NOT_COMPARED = {
    "dropout",
    "class_conditional",
    "label_dropout",
    "flops_ratio",
    "flops_weight",
    "dense_kimg",
    "ramp_kimg",
    "complete_kimg",
}
"""Settings that leave a network its name: regularisation, the label input, DyDiT's budget."""


@dataclass(frozen=True)
class Published:
    """A published network, with the images it was published for."""

    name: str
    model: Model
    shape: NetShape
    millions: float | None
    """Parameters, in millions, of this network for these images; None where nobody gives a number."""
    source: str
    note: str = ""


IMAGENET64 = NetShape(resolution=64, in_channels=3, num_classes=1000)
IMAGENET64_VARIANCE = NetShape(resolution=64, in_channels=3, num_classes=1000, learned_variance=True)
CIFAR10 = NetShape(resolution=32, in_channels=3, num_classes=10)
CIFAR10_AUGMENTED = NetShape(resolution=32, in_channels=3, num_classes=10, augment_labels=9)
FACES64_AUGMENTED = NetShape(resolution=64, in_channels=3, num_classes=0, augment_labels=9)
LATENTS = NetShape(resolution=32, in_channels=4, num_classes=1000, learned_variance=True)

FIVE_STAGES = (
    "The playbook reads the ImageNet-64 network as five stages. It is not the default: P1's released code has four "
    "levels, and the parameter counts P1 prints (30 / 68 / 120 / 270 M) are those of four."
)
FOUR_LEVELS = (
    "Four levels, as in P1's released code and by P1's parameter counts; the playbook's reading has five."
)

IDDPM_MILLIONS = {64: 30.30, 96: 68.13, 128: 121.06, 192: 272.28}
FIVE_STAGE_MILLIONS = {64: 43.6, 96: 97.9, 128: 174.1, 192: 391.5}
DIT_MILLIONS = {"S": 33, "B": 130, "L": 458, "XL": 675}


def _iddpm(channels: int) -> tuple[Published, Published]:
    """iDDPM's ImageNet-64 network of one width, and the playbook's reading of it."""
    return (
        Published(
            f"iDDPM ImageNet-64, C = {channels}",
            UNet(channels=channels),
            IMAGENET64_VARIANCE,
            IDDPM_MILLIONS[channels],
            "P1 p11 and released code; playbook A.6",
            FOUR_LEVELS,
        ),
        Published(
            f"iDDPM ImageNet-64 in five stages, C = {channels}",
            UNet(channels=channels, channel_mult=(1, 2, 3, 4, 4)),
            IMAGENET64_VARIANCE,
            FIVE_STAGE_MILLIONS[channels],
            "playbook 2.0, 2.1",
            FIVE_STAGES,
        ),
    )


def _dit(size: str) -> Published:
    """A DiT of patch size 2, as trained for guidance on 256-pixel ImageNet's latents."""
    depth, width, num_heads = DIT_SIZES[size]
    model = Dit(depth=depth, width=width, num_heads=num_heads, class_conditional=True, label_dropout=0.1)
    source = "Peebles & Xie 2023; P5 Table 7; playbook A.1"
    return Published(f"DiT-{size}/2", model, LATENTS, DIT_MILLIONS[size], source)


def _dydit(size: str) -> Published:
    depth, width, num_heads = DIT_SIZES[size]
    model = DyDit(depth=depth, width=width, num_heads=num_heads, class_conditional=True, label_dropout=0.1)
    return Published(f"DyDiT-{size}/2", model, LATENTS, None, "P5 Table 7; playbook 2.6, A.1a")


PUBLISHED: tuple[Published, ...] = (
    *_iddpm(64),
    *_iddpm(96),
    *_iddpm(128),
    *_iddpm(192),
    Published(
        "iDDPM CIFAR-10",
        UNet(channel_mult=(1, 2, 2, 2)),
        CIFAR10,
        52.5,
        "P1 p11 and released code; playbook 2.1",
    ),
    Published(
        "DDPM++", DdpmPlusPlus(), CIFAR10_AUGMENTED, 55.7, "P3 Table 8 and released code; playbook A.5"
    ),
    Published(
        "DDPM++ with four levels",
        DdpmPlusPlus(channel_mult=(1, 2, 2, 2)),
        FACES64_AUGMENTED,
        61.8,
        "P3 Table 8 and released code; playbook A.5",
    ),
    Published(
        "NCSN++", NcsnPlusPlus(), CIFAR10_AUGMENTED, 56.4, "P3 Table 8 and released code; playbook A.5"
    ),
    Published(
        "ADM", Adm(class_conditional=True), IMAGENET64, 295.9, "P3 Table 8 and released code; playbook A.5"
    ),
    *map(_dit, DIT_SIZES),
    *map(_dydit, DYDIT_STEPS),
)
"""All of them. P3's counts are those of its released code."""


def published(model: Model) -> Published | None:
    """The published network that a configuration equals in everything that makes its layers; None without
    one.

    Dropout, the label input and DyDiT's budget may differ, and with them nothing but the label's own weights.
    The images may differ too.
    """
    return _BY_LAYERS.get(_layers(model))


def _layers(model: Model) -> tuple[tuple[str, object], ...]:
    """The settings that make a network's layers. A divided width is among them, so smoke networks have no
    name."""
    return tuple((name, value) for name, value in model if name not in NOT_COMPARED)


_BY_LAYERS = {_layers(entry.model): entry for entry in PUBLISHED}
