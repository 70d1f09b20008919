"""The tables a report is built from, as pyarrow schemas: what the orchestrator writes and the reports read.

A column is never renamed or removed; a new one is added with what stands in it where a file is older."""

import pyarrow as pa

RESULTS = pa.schema(
    [
        # What was measured: one row per cell, seed and metric.
        ("sweep", pa.string()),
        ("cell_id", pa.string()),
        ("train_id", pa.string()),
        ("metric", pa.string()),  # fd_classifier, precision, coverage, seconds_per_image ...
        ("value", pa.float64()),
        ("jackknife", pa.string()),  # JSON list: the value with each block of images left out; or nothing
        # Under which protocol: rows that differ here never share a table.
        ("protocol_id", pa.string()),
        ("num_samples", pa.int64()),
        ("extractor", pa.string()),
        ("extractor_sha256", pa.string()),
        ("reference_id", pa.string()),
        # Of which weights.
        ("weights", pa.string()),  # "ema" with its half-life, or "raw"
        ("snapshot_kimg", pa.float64()),
        ("train_seed", pa.int64()),
        ("sample_seed", pa.int64()),
        # Of which configuration.
        ("recipe", pa.string()),
        ("varies", pa.string()),
        ("axes", pa.string()),  # JSON object: dotted field -> value at this cell
        ("trained_axes", pa.string()),  # JSON list: those of the axes that make another training
        ("model", pa.string()),  # JSON object
        ("network", pa.string()),  # its published name, or nothing
        ("num_params", pa.int64()),
        ("macs", pa.int64()),  # multiply-accumulates executed in one forward pass of one image
        ("sampler", pa.string()),  # JSON object as the user wrote it
        ("sampler_label", pa.string()),
        ("solver", pa.string()),  # the family figures name it by: "Heun", "DDIM stochastic" ...
        ("deterministic", pa.bool_()),  # whether the images follow from the latents alone
        ("num_steps", pa.int64()),
        ("nfe", pa.int64()),
        ("collapsed", pa.string()),  # JSON list: why this cell equals others, in words
        ("off_playbook", pa.string()),  # JSON list: fields whose value the papers do not use
        ("smoke", pa.bool_()),
        ("panel", pa.string()),  # sample grid, relative to the storage root
    ]
)

ADDED = {"network": "", "jackknife": ""}
"""Columns that older files lack, and what then stands in them."""

ASKED_OF_KINDS = ("trained_axes", "solver", "deterministic")
"""Columns that files of 0.4.0 lack and that follow from the others: whoever knows the kinds fills them in."""

CURVES = pa.schema(
    [
        ("train_id", pa.string()),
        ("kimg", pa.float64()),
        ("name", pa.string()),  # train/loss, train/lr, selection/fd_classifier ...
        ("value", pa.float64()),
    ]
)
