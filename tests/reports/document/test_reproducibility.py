"""What ran: facts, and sums that are checked instead of trusted."""

import json

import pytest

from reports.document.checks import checks, missing_cells
from reports.document.facts import MAX_LISTED
from reports.document.limits import limits
from reports.document.reproducibility import what_ran
from reports.read.grouping import overview


def change(folder, **changes):
    path = folder.sweep / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest.update(changes)
    path.write_text(json.dumps(manifest))
    return manifest


def outcomes(folder):
    return {check.text: check.passed for check in checks(overview(folder.read()))}


def facts(folder):
    ran = what_ran(overview(folder.read()))
    return {(group.title, term): value for group in ran.facts for term, value in group.items}


def test_all_checks_of_a_complete_sweep_pass(scale_sweep, churn_sweep):
    assert set(outcomes(scale_sweep).values()) == {True}
    assert set(outcomes(churn_sweep).values()) == {True}
    assert "grid points = cells + collapsed: 6 = 5 + 1" in outcomes(churn_sweep)


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("points", 12, "grid points ≠ cells + collapsed: 12 ≠ 10 + 0"),
        ("run_cells", 9, "cells with results ≠ run cells + cached cells: 10 ≠ 9"),
        ("run_trainings", 3, "finished trainings ≠ run trainings + cached trainings: 2 ≠ 3"),
        ("failed", 1, "failures listed ≠ failed: 0 ≠ 1"),
    ],
)
def test_a_sum_that_does_not_add_up_is_shown(scale_sweep, field, value, text):
    manifest = json.loads((scale_sweep.sweep / "manifest.json").read_text())
    change(scale_sweep, counts={**manifest["counts"], field: value})
    assert outcomes(scale_sweep)[text] is False


def test_a_count_that_was_not_recorded_is_unknown_and_not_passed(scale_sweep):
    change(scale_sweep, counts={})
    assert outcomes(scale_sweep)["grid points = cells + collapsed: not recorded"] is None


def test_a_cell_that_vanished_is_found(scale_sweep):
    manifest = json.loads((scale_sweep.sweep / "manifest.json").read_text())
    change(scale_sweep, lineage={**manifest["lineage"], "lost": "t-16-s0"})
    assert outcomes(scale_sweep)["1 cell with neither a result nor a failure, first lost"] is False
    assert missing_cells(overview(scale_sweep.read())) == ["lost"]


@pytest.mark.parametrize("unit", ["lost", "t-64-s0"])
def test_a_missing_cell_is_explained_by_its_own_failure_or_its_trainings(scale_sweep, unit):
    manifest = json.loads((scale_sweep.sweep / "manifest.json").read_text())
    counts = {**manifest["counts"], "failed": 1}
    lineage = {**manifest["lineage"], "lost": "t-64-s0"}
    change(scale_sweep, counts=counts, lineage=lineage, failures=[{"unit": unit, "message": "out of memory"}])
    assert outcomes(scale_sweep)["each of the 11 planned cells has a result or a failure"] is True
    assert what_ran(overview(scale_sweep.read())).failures == ((unit, "out of memory"),)
    assert "1 planned cell without a result: this is not the whole grid." in limits(
        overview(scale_sweep.read())
    )


def test_an_nfe_that_contradicts_the_solver_is_found(write, make_cell):
    folder = write([make_cell({}, {"kind": "heun", "num_steps": 18}, 4.0, nfe=36, cell_id="c1")])
    assert outcomes(folder)["counted NFE differs from the solver's formula in 1 cell, first c1"] is False


def test_an_nfe_without_a_formula_is_not_said_to_agree_with_one(write, make_cell):
    folder = write([make_cell({}, {"kind": "ddim", "num_steps": 18}, 4.0, nfe=18, cell_id="c1")])
    assert outcomes(folder)["counted NFE against the solvers' formulas: no solver here has one"] is None


def test_how_many_nfes_have_a_formula_is_said_where_some_have_none(write, make_cell):
    known = make_cell({}, {"kind": "heun", "num_steps": 18}, 4.0, nfe=35, cell_id="c1")
    other = make_cell({}, {"kind": "ddim", "num_steps": 18}, 4.0, nfe=18, cell_id="c2")
    agrees = "counted NFE agrees with the solvers' formulas (Euler N, Heun 2N − 1, RK4 4N − 1)"
    assert outcomes(write([known, other]))[f"{agrees} in 1 of 2 cells"] is True


def test_values_that_are_not_finite_are_counted(write, make_cell):
    folder = write([make_cell({}, {"kind": "heun", "num_steps": 18}, float("inf"), cell_id="c1")])
    assert outcomes(folder)["1 value not finite, first in cell c1"] is False


def test_results_of_another_protocol_than_the_manifest_are_found(scale_sweep):
    change(scale_sweep, protocol={"id": "p-other"})
    assert outcomes(scale_sweep)["results and manifest name the same protocol"] is False


def test_facts_hold_code_data_machine_and_protocol(scale_sweep):
    found = facts(scale_sweep)
    assert found["Code", "commit"] == "0123abcd"
    assert found["Data", "sha256"] == "d" * 64
    assert found["Machine", "packages"] == "ray 2.60.0 · torch 2.12.0"
    assert found["Evaluation protocol", "images per cell"] == "2,000"
    assert (
        found["Evaluation protocol", "snapshot chosen by"]
        == "sampler (kind heun, num_steps 18), num_samples 1000"
    )
    assert found["Sweep", "distinct cells"] == "10: 10 run now, 0 already in the store"


def test_facts_say_which_network_ran_and_how_it_is_read(scale_sweep):
    numbers = {"num_params": 121_060_000, "macs": 39_000_000_000}
    unet = {"kind": "unet", "channel_mult": [1, 2, 3, 4], "channels": 128}
    named = {"name": "iDDPM", "note": "Four levels.", "source": "P1 p11", "model": unet, **numbers}
    custom = {"name": "", "note": "", "source": "", "model": {**unet, "channel_mult": [1, 2]}, **numbers}
    transformer = {**custom, "model": {"kind": "dit", "depth": 4}}
    change(scale_sweep, networks=[named, custom, transformer])
    found = facts(scale_sweep)
    size = "121 M parameters, 39.0 G MACs"
    assert found["Network", "iDDPM"] == f"{size} [P1 p11]. Four levels. channel_mult 1-2-3-4, channels 128."
    assert found["Network", "custom unet"] == f"{size}. 2 levels. channel_mult 1-2, channels 128."
    assert found["Network", "custom dit"] == f"{size}. depth 4."


def test_a_manifest_from_before_networks_had_names_says_so(scale_sweep):
    assert facts(scale_sweep)["Network", "name"] == "not recorded"


def test_what_is_null_is_said_to_be_unrecorded(scale_sweep):
    change(scale_sweep, code=None, data=None, environment=None, command=None)
    change(scale_sweep, trainings=None, failures=None, collapsed=None)
    found = facts(scale_sweep)
    assert found["Code", "commit"] == found["Data", "name"] == found["Machine", "cpu"] == "not recorded"
    assert what_ran(overview(scale_sweep.read())).command == "not recorded"


def test_passwords_in_the_command_and_in_failures_are_removed(scale_sweep):
    url = "s3://user:canary@host/bucket"
    change(
        scale_sweep,
        command=f"orch sweep g.yaml --storage {url}",
        failures=[{"unit": "u", "message": f"no {url}"}],
    )
    ran = what_ran(overview(scale_sweep.read()))
    assert ran.command == "orch sweep g.yaml --storage s3://***@host/bucket"
    assert "canary" not in repr(ran)


def test_collapsed_cells_are_listed_with_their_reason_up_to_a_limit(scale_sweep):
    group = {
        "cell_id": "c",
        "points": [{"sample.s_tmin": n} for n in (0, 1, 2)],
        "reason": "s_churn = 0 is Heun",
    }
    change(scale_sweep, collapsed=[group] * (MAX_LISTED + 2))
    ran = what_ran(overview(scale_sweep.read()))
    assert ran.collapsed[0] == ("c", "s_churn = 0 is Heun (3 points: S_tmin = 0; S_tmin = 1; and 1 more)")
    assert (len(ran.collapsed), ran.collapsed_total) == (MAX_LISTED, MAX_LISTED + 2)


def test_limits_name_smoke_off_playbook_deviations_and_the_number_of_images(write, make_scale_cells):
    cells = [{**cell, "smoke": True, "off_playbook": '["model.channels"]'} for cell in make_scale_cells()]
    found = " ".join(limits(overview(write(cells, off_playbook=["train.lr"]).read())))
    assert "A smoke run" in found
    assert "Values the papers do not use: model.channels and train.lr." in found
    assert "images are 8x8 digits instead of CIFAR-10." in found
    assert "2,000 images per cell; published numbers use 50,000." in found
    assert "One training per configuration" in found


def test_a_full_protocol_fid_is_not_called_incomparable(write, make_cell):
    full = {"metrics": {"fid": 3.0}, "num_samples": 50_000, "extractor": "inception"}
    cell = make_cell({}, {"kind": "heun", "num_steps": 18}, 0.0, **full)
    found = " ".join(limits(overview(write([cell]).read())))
    assert "cannot be held against" not in found
    assert "50,000" not in found


@pytest.mark.parametrize(
    ("dims", "few"),
    [
        (1796, ""),
        (1797, "1,797 real images, no more than the 1,797 dimensions"),
        (2048, "2,000 generated and 1,797 real images, no more than the 2,048 dimensions"),
        (None, ""),  # manifests of earlier versions do not say
    ],
)
def test_limits_say_when_images_are_too_few_for_a_covariance_of_full_rank(scale_sweep, dims, few):
    protocol = json.loads((scale_sweep.sweep / "manifest.json").read_text())["protocol"]
    change(scale_sweep, protocol={**protocol, **({} if dims is None else {"feature_dims": dims})})
    found = " ".join(limits(overview(scale_sweep.read())))
    assert ("lacks rank" in found) is bool(few)
    assert few in found


def test_every_measured_metric_stands_in_the_protocol_with_its_arrow_and_unit(write, make_cell):
    measured = {"fid": 2.0, "kid": 0.001, "nll_test": 3.0, "seconds_per_image": 0.1}
    folder = write([make_cell({}, {"kind": "heun", "num_steps": 18}, 2.0, metrics=measured)])
    shown = {
        "fid": {"name": "fid", "label": "fid", "better": "lower"},
        "kid": {"name": "kid", "label": "KID", "better": "lower"},
        "nll_test": {"name": "nll_test", "label": "NLL, test", "better": "lower", "unit": "bits / dim"},
        "seconds_per_image": {
            **{"name": "seconds_per_image", "label": "ms / image", "better": "lower", "unit": "s"},
            "scale": 1000.0,
        },
    }
    change(folder, metrics=shown)
    expected = "fid ↓, KID ↓, NLL, test (bits / dim) ↓, ms / image ↓"
    assert facts(folder)["Evaluation protocol", "metrics"] == expected


def test_choices_stand_in_the_protocol_section_by_section(scale_sweep):
    change(scale_sweep, choices={"sample": "kind heun / euler, grid edm", "eval": "likelihood.decoder walk"})
    found = facts(scale_sweep)
    assert found["Evaluation protocol", "chosen in sample"] == "kind heun / euler, grid edm"
    assert found["Evaluation protocol", "chosen in eval"] == "likelihood.decoder walk"
