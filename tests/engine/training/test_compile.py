"""torch.compile in training: the network alone, in place, to within rounding;
and a word at once where it cannot work.

Compiling even the smallest network for a CPU takes half a minute, so most of these are slow.
"""

import copy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.backbones.adm.config import Adm
from engine.backbones.ddpmpp.config import DdpmPlusPlus
from engine.backbones.dit.config import Dit
from engine.backbones.dydit.config import DyDit
from engine.backbones.mlp.config import Mlp
from engine.backbones.ncsnpp.config import NcsnPlusPlus
from engine.backbones.network import compiled_parts
from engine.backbones.registry import BACKBONES, Model
from engine.backbones.unet.config import UNet
from engine.build import build_network
from engine.config.experiment import Experiment
from engine.config.weights import RawWeights
from engine.files import LocalFiles
from engine.training import compiling
from engine.training.compiling import compile_network
from engine.training.snapshot import read_snapshot

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
UNET: dict[str, Any] = {
    "channels": 4,
    "channel_mult": (1,),
    "num_blocks": 1,
    "attention_resolutions": (),
    "dropout": 0,
}
DIT: dict[str, Any] = {"depth": 2, "width": 16, "num_heads": 2}
MODELS: dict[str, Model] = {
    "adm": Adm(**UNET, head_channels=4),
    "ddpmpp": DdpmPlusPlus(**UNET),
    "dit": Dit(**DIT),
    "dydit": DyDit(**DIT, dense_kimg=0.0, ramp_kimg=0.02, complete_kimg=0.016),
    "mlp": Mlp(width=16, depth=2),
    "ncsnpp": NcsnPlusPlus(**UNET),
    "unet": UNet(**UNET, num_heads=2),
}
SMOOTH: dict[str, Any] = {"adam_eps": 1.0, "lr": 0.01, "keep_raw": True}
"""With eps = 1 Adam's step is smooth in the gradient, so that rounding errors stay rounding errors."""

every_kind = pytest.mark.parametrize("kind", sorted(BACKBONES))
compiles = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler"),
    # Loading the compiler makes torch warn of its own use of TorchScript.
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
    # It hides this one of its own from everybody, but not from filters that make errors of warnings.
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
]


def compiled(test: Any) -> Any:
    """Mark a test that compiles."""
    for mark in compiles:
        test = mark(test)
    return test


def of_kind(short: Any, kind: str, **settings: Any) -> Experiment:
    return short.speck(**{**SMOOTH, **settings}).model_copy(update={"model": MODELS[kind]})


def weights(short: Any, name: str, images_shown: int = 32) -> dict[str, Tensor]:
    return read_snapshot(LocalFiles(short.root / name), images_shown, RawWeights())[0]


def distance(left: dict[str, Tensor], right: dict[str, Tensor]) -> float:
    return float(sum((left[name] - right[name]).double().square().sum() for name in left) ** 0.5)


def test_off_leaves_the_network_alone() -> None:
    net = nn.Linear(2, 2)
    compile_network(net, "off", CPU)
    assert net._compiled_call_impl is None


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("choice", ["default", "max"])
def test_names_of_weights_and_copies_stay_as_they_are(
    choice: Any, short: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "check_compiler", lambda *_: None)
    net = build_network(of_kind(short, "ddpmpp"))
    names = set(net.state_dict())
    compile_network(net, choice, CPU)
    assert net._compiled_call_impl is not None
    assert set(net.state_dict()) == names
    assert copy.deepcopy(net)._compiled_call_impl is None


def test_of_ocm_the_frozen_trunk_and_the_head_are_compiled_apart(short: Any) -> None:
    net = build_network(short.with_head())
    assert compiled_parts(net) == [net.backbone.trunk, net.head]


def test_where_nothing_can_be_compiled_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(function: Any) -> Any:
        raise RuntimeError(
            "InvalidCxxCompiler: No working C++ compiler found\n\nSet TORCHDYNAMO_VERBOSE=1 for more"
        )

    monkeypatch.setattr(torch, "compile", broken)
    reason = r"\(InvalidCxxCompiler: [^\n]* found\)"
    words = rf"^train.compile: max cannot work on cpu here {reason};[^\n]* train.compile: off$"
    with pytest.raises(RuntimeError, match=words):
        compile_network(nn.Linear(2, 2), "max", CPU)


@pytest.mark.slow
def test_the_compiler_is_not_loaded_where_nothing_is_compiled() -> None:
    """It takes as long as torch itself, and every process that samples would wait for it."""
    code = (
        "import sys, engine.evaluation.evaluate, engine.training.loop; "
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@compiled
def test_a_missing_compiler_stops_a_training_before_its_first_step(short: Any, tmp_path: Path) -> None:
    experiment = tmp_path / "experiment.json"
    experiment.write_text(of_kind(short, "mlp", compile="default").model_dump_json())
    code = f"""
import os, sys
os.environ |= {{"CXX": "/none", "TORCHINDUCTOR_CACHE_DIR": {str(tmp_path)!r}}}
from pathlib import Path
import torch
from engine.data.datasets import load_images
from engine.files import LocalFiles
from engine.config.experiment import Experiment
from engine.training.loop import train
experiment = Experiment.model_validate_json(Path({str(experiment)!r}).read_text())
try:
    train(experiment, load_images("digits", None), LocalFiles(Path({str(tmp_path)!r})), sys.exit, torch.device("cpu"))
except RuntimeError as error:
    print(error)
"""
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert len(said) == 1
    assert said[0].startswith("train.compile: default cannot work on cpu here (InvalidCxxCompiler: ")


def traced_only(monkeypatch: pytest.MonkeyPatch, whole: bool = True) -> None:
    """Trace networks without making kernels, which for a U-Net takes minutes."""
    real = nn.Module.compile
    monkeypatch.setattr(compiling, "check_compiler", lambda *_: torch.compiler.reset())
    monkeypatch.setattr(
        nn.Module, "compile", lambda net, **_: real(net, backend="aot_eager", fullgraph=whole)
    )


@compiled
@every_kind
def test_a_network_is_traced_once_and_as_one_graph(
    kind: str, short: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traced without making kernels. DyDiT tells its FLOPs on the way, which parts it in three graphs; the
    complete pass, which its warm-up adds, is another."""
    from torch._dynamo.utils import counters

    traced_only(monkeypatch, whole=kind != "dydit")
    counters.clear()
    short.run(of_kind(short, kind, compile="default", precision="bf16"))
    assert counters["stats"]["unique_graphs"] == (4 if kind == "dydit" else 1)


@compiled
@pytest.mark.parametrize("kind", ["dit", "mlp"])
def test_a_compiled_training_is_the_plain_one_but_for_rounding(kind: str, short: Any) -> None:
    """Fused kernels add in another order: a few parts in 2^24 of a gradient, over four steps that add up.

    As between workers, 1e-5 of how far the weights have come is allowed, some eighty times the largest
    rounding of one number. Measured are 2e-7 to 1e-6. The losses agree as closely.
    """
    plain = short.run(of_kind(short, kind), "plain")
    fused = short.run(of_kind(short, kind, compile="default"), "fused")
    losses = [
        [value for _, name, value in ticks[-1].curves if name == "train/loss"] for ticks in (plain, fused)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    moved = distance(weights(short, "plain", 16), weights(short, "plain"))
    assert distance(weights(short, "plain"), weights(short, "fused")) < 1e-5 * moved


@compiled
def test_a_compiled_training_goes_on_and_recomputes_with_the_same_bits(short: Any) -> None:
    """Dropout is on: its random numbers are the compiler's own, and keyed by position all the same."""
    settings = {**SMOOTH, "compile": "default"}
    model = Mlp(width=16, depth=2, dropout=0.5)
    plain, recomputing = (
        short.speck(**settings, checkpointing=flag).model_copy(update={"model": model})
        for flag in (False, True)
    )
    short.run(plain, "plain")
    short.run_in_two_halves(plain, "halves")
    short.run(recomputing, "recomputing")
    assert short.kept("plain") == short.kept("halves") == short.kept("recomputing")


@compiled
def test_a_traced_head_is_the_plain_one_but_for_rounding(short: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    traced_only(monkeypatch)
    heads = [short.with_head(**SMOOTH, compile=choice) for choice in ("off", "default")]
    short.run(heads[0].parent, "parent")
    for head, name in zip(heads, ("plain", "fused"), strict=True):
        short.run(head, name, parent="parent")
    moved = distance(weights(short, "plain", 16), weights(short, "plain"))
    assert distance(weights(short, "plain"), weights(short, "fused")) < 1e-5 * moved


@compiled
def test_two_workers_compile_and_train_what_one_trains(short: Any) -> None:
    experiment = short.speck(compile="default").model_copy(
        update={"model": Mlp(width=16, depth=2, dropout=0.5)}
    )
    short.run(experiment, "case/alone")
    (short.root / "case" / "experiment.json").write_text(experiment.model_dump_json())
    command = [sys.executable, str(Path(__file__).with_name("distributed_worker.py")), str(short.root)]
    workers = [subprocess.Popen([*command, str(rank), "2"]) for rank in range(2)]
    assert [worker.wait(timeout=500) for worker in workers] == [0, 0]
    assert short.kept("case/shared") == short.kept("case/alone")
