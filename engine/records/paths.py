"""The store's layout: every name of a file and folder in it, spelt here and nowhere else.

Paths of the root are given from the storage's root; a unit's own files from the unit's folder. A rename here
makes finished work unfindable, so names stay as they are.
"""

# The root.
TRAININGS = "train"
CELLS = "cells"
SWEEPS = "sweeps"
REFERENCES = "references"
SPEED = "speed.json"
"""How fast networks trained and sampled here, for predictions."""

# In a training's folder and in a cell's.
DONE = "DONE.json"
"""Written last: the folder that holds it is complete."""
FAILED = "FAILED.json"
"""Why the unit failed when it was last tried."""

# In a training's folder.
SPEC = "spec.json"
"""The experiment that is trained."""
CURVES = "curves.parquet"
"""Training curves; of a sweep, those of all its trainings."""
OPTIMUM = "optimal_loss.json"
"""The optimal loss of the training images, where the objective asks for the gap above it."""
CHECKPOINT = "checkpoint/state.safetensors"
"""State for resuming."""
AGREEMENT = "agreement"
"""Folder of reference images of many steps, by what they depend on."""
ANALYTIC = "analytic"
"""Folder of Analytic-DPM's variances."""
LIKELIHOOD = "likelihood"
"""Folder of likelihoods under the probability-flow ODE."""
DIAGNOSIS = "diagnosis"
"""Folder of losses beside their optimum."""

# In a cell's folder.
CELL = "cell.json"
"""What was measured."""
CELL_PANEL = "panel.png"
"""The first images."""
BOUND = "bound.json"
"""Terms of the variational bound: prior, every step by the timestep it leaves, decoder;
bits per dimension."""
SPOOL = "drawn"
"""Folder of images that wait to be measured; empty once they are."""

# In a sweep's folder.
GRID = "grid.yaml"
PLAN = "plan.json"
RESULTS = "results.parquet"
MANIFEST = "manifest.json"
ATTEMPTS = "attempts.jsonl"
MIRRORED = "mirrored.json"
"""What MLflow holds when it equals the store."""
SEARCH_TRIALS = "search.jsonl"
SEARCH_SPACE = "search_space.json"
REPORT = "report"
REPORT_HTML = "report/report.html"

# In the folder of an extractor's references.
DATA = "data.json"
"""The data set as the workers saw it."""
REFERENCE_STATISTICS = "reference.safetensors"
CLASSIFIER_WEIGHTS = "classifier.safetensors"

# Beside the sweeps.
MLFLOW_DATABASE = "mlflow.db"
MLFLOW_ARTIFACTS = "artifacts"


def reference_part(name: str) -> str:
    """What else is worked out of a training set under an extractor."""
    return f"{name}.safetensors"


def training_folder(train_id: str) -> str:
    """A training's folder."""
    return f"{TRAININGS}/{train_id}"


def cell_folder(cell_id: str) -> str:
    """A cell's folder."""
    return f"{CELLS}/{cell_id}"


def sweep_folder(name: str) -> str:
    """A sweep's folder."""
    return f"{SWEEPS}/{name}"


def references_folder(data_name: str, extractor: str) -> str:
    """Folder of an extractor's weights and of a data set's statistics under it."""
    return f"{REFERENCES}/{data_name}-{extractor}"


def training_done(train_id: str) -> str:
    """File of the root that says that a training is finished."""
    return f"{training_folder(train_id)}/{DONE}"


def cell_done(cell_id: str) -> str:
    """File of the root that says that a cell is measured."""
    return f"{cell_folder(cell_id)}/{DONE}"


def cell_panel(cell_id: str) -> str:
    """A cell's sample grid, from the root."""
    return f"{cell_folder(cell_id)}/{CELL_PANEL}"


def selection(selection_id: str) -> str:
    """Which snapshot of a training was chosen under one rule."""
    return f"selections/{selection_id}.json"


def training_selection(train_id: str, selection_id: str) -> str:
    """The same from the root."""
    return f"{training_folder(train_id)}/{selection(selection_id)}"


def snapshot(images_shown: int, average: str = "") -> str:
    """Weights after so many images; `average` names another average than the training's own."""
    suffix = f".{average}" if average else ""
    return f"snapshots/images_{images_shown:010d}{suffix}.safetensors"


def snapshot_panel(images_shown: int) -> str:
    """Images of fixed latents under a snapshot."""
    return f"panels/images_{images_shown:010d}.png"


def spooled_batch(first: int) -> str:
    """The batch of a cell's waiting images that begins with index `first`."""
    return f"{SPOOL}/{first:010d}.safetensors"
