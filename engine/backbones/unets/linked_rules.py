"""What must follow a U-Net's width. Imports no torch."""

import math

from engine.backbones.linked_rules import LinkedPoint


def lr_from_channels(anchor: LinkedPoint, point: LinkedPoint) -> float:
    """Learning rate of a widened U-Net: anchor lr / sqrt(C / anchor C) [P1 p11; playbook A.6].

    With iDDPM's anchor (C = 128, lr = 1e-4)
    this gives 1.41e-4, 1.15e-4, 1e-4, 8.16e-5 for C = 64, 96, 128, 192.
    """
    anchor_width = anchor.model.reference_width
    width = point.model.reference_width
    if anchor_width is None or width is None:
        raise ValueError(f"lr_from_channels scales with a U-Net's channels, which {point.model.kind} has not")
    return anchor.train.lr / math.sqrt(width / anchor_width)
