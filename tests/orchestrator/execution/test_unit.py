"""What a process of a worker keeps for its next unit, and how exactly it computes."""

import torch

from engine.device import worker_device
from orchestrator.execution.warm_process import load_data


def test_a_data_set_is_kept_once_however_its_split_is_named() -> None:
    plain = load_data("digits", None)
    assert load_data("digits", None, "train") is plain
    assert load_data("digits", None, split="train") is plain
    assert load_data(data_name="digits", data_root=None) is plain


def test_whoever_asks_for_the_device_computes_without_tf32() -> None:
    torch.backends.cudnn.allow_tf32 = True
    worker_device()
    assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.deterministic
