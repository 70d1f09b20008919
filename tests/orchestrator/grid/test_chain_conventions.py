"""Conventions of chains as a grid writes them."""

from pathlib import Path

import pytest

from engine.samplers.ddpm import Ddpm
from engine.samplers.timesteps import section_timesteps
from orchestrator.errors import OrchError
from orchestrator.grid import expand, load_sweep
from orchestrator.grid.recipe import PACKAGED, read_recipe

HEAD = """schema: orch/grid@1
name: chains
recipe: iddpm_digits
seeds: {train: [0], sample: [0]}
resources: {workers: 1, cpus_per_worker: 1, gpus_per_worker: 0}
"""

PANEL = """varies: objective
axes: {objective.kind: [vlb], objective.warmup_kimg: [null, 8], objective.time_scale: [thousand, shifted]}
panel:
  - {kind: ddpm, num_steps: 45, schedule: cosine, tau: sections, sections: ["10,15,20", "15,15,15"]}
  - {kind: ddpm, num_steps: 25, schedule: cosine, tau: [even, even_one_based, strided]}
  - {kind: ddim, num_steps: 3, schedule: cosine, tau: listed, visit: "0,400,999"}
"""

AXES = """varies: sampler
set: {sample.num_steps: 45, sample.tau: sections, sample.sections: "15,15,15"}
axes: {sample.sections: ["10,15,20", [15, 15, 15]], sample.guidance_channels: [null]}
"""


def labels(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "chains.yaml"
    path.write_text(HEAD + text)
    return [point.experiment.sample.label for point in expand(load_sweep(path))]


def test_a_panel_names_rules_sections_and_lists_as_text(tmp_path: Path) -> None:
    found = labels(tmp_path, PANEL)
    assert len(found) == 4 * 6
    assert len(set(found)) == 6
    assert any(label.endswith("sections 10+15+20") for label in found)
    assert any("listed" in label for label in found)


def test_an_axis_names_sections_as_text_or_as_a_list(tmp_path: Path) -> None:
    assert [label.rsplit(" ", 1)[1] for label in labels(tmp_path, AXES)] == ["10+15+20", "15+15+15"]


@pytest.mark.parametrize(
    ("recipe", "num_steps"),
    [("dit_cifar10", 250), ("dydit_cifar10", 250), ("dit_digits", 50), ("dydit_digits", 50)],
)
def test_recipes_that_cite_dit_sample_as_its_script_does(recipe: str, num_steps: int) -> None:
    sampler = read_recipe(PACKAGED / "recipes" / f"{recipe}.yaml").sample
    assert isinstance(sampler, Ddpm)
    # One section of P1's rule, T - 1 included; no clipping; guidance on all three channels there are.
    assert sampler.timesteps == section_timesteps((num_steps,), 1000)
    assert (sampler.covariance, sampler.clip_x0, sampler.guidance_channels) == ("learned_range", False, None)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ('"ddim45"', "is tau strided with num_steps 45"),
        ('"10,15"', "makes 25 steps, and num_steps is 45"),
        ('"a,b"', "no list of numbers"),
    ],
)
def test_what_makes_no_sections_is_refused_with_its_line(tmp_path: Path, wrong: str, words: str) -> None:
    with pytest.raises(OrchError, match=words):
        labels(tmp_path, AXES.replace('"10,15,20"', wrong))
