"""`orch model`: names, numbers and layers of a recipe's network."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.backbones.base import ModelBase
from engine.backbones.ddpmpp.config import DdpmPlusPlus
from engine.backbones.dit.cost import attention_cost, mlp_cost
from engine.backbones.dit.layout import dit_layout
from engine.backbones.dydit.config import DyDit
from engine.config.network_shape import net_shape
from orchestrator.console.model_view import network, sweep_words
from orchestrator.grid.recipe import PACKAGED, read_recipe, recipe_names
from orchestrator.planning.cost import model_cost, sampling_cost
from reports.formatting import scaled

DYDIT = """
data: {name: digits}
model: {kind: dydit, width: 32, depth: 2, num_heads: 4, patch_size: 2, flops_ratio: 0.5}
objective: {kind: edm}
train: {batch_size: 100, total_kimg: 4, snapshot_kimg: 2}
sample: {kind: heun, num_steps: 3}
eval: {num_samples: 100}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A small DyDiT."""
    (tmp_path / "small.yaml").write_text(DYDIT)
    return tmp_path / "small.yaml"


def test_a_published_network_has_its_name_its_source_and_its_size(orch: Any) -> None:
    code, out, err = orch("model", "iddpm_cifar10")
    assert (code, err) == (0, "")
    head, knobs, _, params, macs = out.splitlines()
    assert head.startswith("iddpm_cifar10: iDDPM CIFAR-10 (P1 p11")
    assert "channels 128  ·  channel_mult 1-2-2-2" in knobs
    assert params == "parameters: 52.5 M (52,542,979)"
    assert "8.38 G MACs = 16.8 G FLOPs (1 MAC = 2 FLOPs; what P1, DiT and P5 call FLOPs are MACs)" in macs


def test_a_network_that_nobody_published_is_called_custom(orch: Any) -> None:
    assert orch("model", "edm_digits")[1].startswith("edm_digits: custom ddpmpp\n")


def test_a_note_says_which_reading_of_a_network_it_is(orch: Any, recipe: Path) -> None:
    unet = "{kind: unet, channel_mult: [1, 2, 3, 4, 4]}"
    text = DYDIT.replace("digits", "cifar10").replace(DYDIT.splitlines()[2], f"model: {unet}")
    recipe.write_text(text)
    out = orch("model", str(recipe))[1]
    assert "iDDPM ImageNet-64 in five stages" in out
    assert "P1's released code has four levels" in out


@pytest.mark.parametrize("name", recipe_names(PACKAGED))
def test_layers_of_every_packaged_recipe_add_up_to_its_network(name: str) -> None:
    experiment = read_recipe(PACKAGED / "recipes" / f"{name}.yaml")
    found, cost = network(experiment, name), model_cost(experiment)
    assert sum(layer.params for layer in found.layers) == found.params == cost.params
    assert sum(layer.macs for layer in found.layers) == found.macs == cost.macs
    assert found.flops == 2 * found.macs


def test_the_head_of_ocm_is_its_last_layer() -> None:
    found = network(read_recipe(PACKAGED / "recipes" / "ocm_digits.yaml"), "ocm_digits")
    assert found.layers[-1].name == "complex head"


def test_layers_are_a_table_with_shares_and_the_sum(orch: Any) -> None:
    code, out, _ = orch("model", "iddpm_digits", "--layers")
    assert code == 0
    lines = out.splitlines()
    table = lines[next(number for number, line in enumerate(lines) if line.strip().startswith("layer")) :]
    assert table[0].split() == ["layer", "parameters", "%", "MACs", "/", "image", "%"]
    assert table[1].split()[0] == "embedding"
    assert table[-1].split()[0] == "total"
    shares = [float(line.split()[-1]) for line in table[1:-1]]
    assert sum(shares) == pytest.approx(100, abs=0.05 * len(shares))  # each is rounded by up to 0.05


def test_the_budget_of_a_dydit_scales_its_attention_and_mlps_and_nothing_else(
    orch: Any, recipe: Path
) -> None:
    code, out, _ = orch("model", str(recipe), "--json")
    found, experiment = json.loads(out), read_recipe(recipe)
    assert code == 0
    assert isinstance(experiment.model, DyDit)
    layout = dit_layout(experiment.model, net_shape(experiment))
    skippable = 2 * (attention_cost(layout).macs + mlp_cost(layout).macs)  # 2 blocks
    assert found["budget"]["macs"] == found["macs"] - skippable // 2
    assert found["budget"]["scales"] == skippable / found["macs"]
    assert "at its budget (flops_ratio 0.5)" in orch("model", str(recipe))[1]


def test_json_holds_knobs_numbers_and_layers(orch: Any) -> None:
    found = json.loads(orch("model", "edm_digits", "--json")[1])
    assert (found["kind"], found["published"], found["knobs"]["channels"]) == ("ddpmpp", "", 24)
    assert (found["resolution"], found["in_channels"], found["out_channels"], found["budget"]) == (
        8,
        1,
        1,
        None,
    )
    assert {"name", "params", "macs"} == set(found["layers"][0])


def test_a_network_that_cannot_be_built_names_the_recipe_and_the_reason(orch: Any, recipe: Path) -> None:
    recipe.write_text(DYDIT.replace("patch_size: 2", "patch_size: 3"))
    code, out, err = orch("model", str(recipe))
    assert (code, out) == (2, "")
    assert err.startswith(
        "small: the network asked for cannot be built on digits: patches of 3 pixels do not tile"
    )


def test_an_unknown_recipe_is_a_message_and_exit_code_2(orch: Any) -> None:
    code, _, err = orch("model", "edm_digit")
    assert code == 2
    assert 'did you mean "edm_digits"?' in err


# In a plan.


def test_a_plan_names_its_networks_and_their_ranges_in_a_line(orch: Any) -> None:
    out = orch("plan", str(PACKAGED / "unet_channels.yaml"))[1]
    (line,) = (line for line in out.splitlines() if line.startswith("network"))
    assert line == (
        "networks: custom unet, iDDPM CIFAR-10; 13.2 M to 118 "
        "M parameters, 2.16 G to 18.7 G MACs a forward pass"
    )


def test_a_line_about_budgets_has_what_sampling_costs_too(recipe: Path) -> None:
    half = read_recipe(recipe)
    assert isinstance(half.model, DyDit)
    whole = half.model_copy(update={"model": half.model.static})
    line = sweep_words([whole, half])
    assert line.startswith("networks: custom dit, custom dydit; ")
    full, least = scaled(model_cost(half).macs), scaled(sampling_cost(half).macs)
    static = scaled(model_cost(whole).macs)
    assert line.endswith(
        f"{static} to {full} MACs a forward pass ({least} to {static} when sampling within its budget)"
    )


def test_many_networks_are_named_up_to_four(recipe: Path) -> None:
    half = read_recipe(recipe)
    kinds = ["DiT-S/2", "DiT-B/2", "DiT-L/2", "DiT-XL/2"]
    sizes = [(12, 384, 6), (12, 768, 12), (24, 1024, 16), (28, 1152, 16)]
    assert isinstance(half.model, DyDit)
    static = half.model.static
    experiments = [
        half.model_copy(update={"model": static.model_copy(update={"depth": d, "width": w, "num_heads": h})})
        for d, w, h in sizes
    ]
    assert sweep_words([*experiments, half]).startswith(f"networks: {', '.join(kinds)}, and 1 more; ")


def test_a_network_whose_layers_nobody_counted_has_no_table_of_them(
    orch: Any, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A recipe of this test's own: costs are remembered by experiment.
    recipe.write_text(DYDIT.replace(DYDIT.splitlines()[2], "model: {kind: ddpmpp, channels: 20}"))
    monkeypatch.setattr(DdpmPlusPlus, "layers", ModelBase.layers)
    code, out, _ = orch("model", str(recipe), "--layers")
    assert code == 0
    assert out.rstrip().endswith("parameters and MACs: unknown; ddpmpp does not count its layers")
