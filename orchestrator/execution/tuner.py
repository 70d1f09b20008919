"""The Tuner: Ray Tune runs units, a few at a time, and tells the progress view what they do."""

from typing import Any

from ray import tune
from ray.tune.experiment import Trial

from orchestrator.console.progress import Progress
from orchestrator.errors import Interrupted
from orchestrator.execution.draining import Draining
from orchestrator.execution.job import Job
from orchestrator.execution.ray_values import RayValues
from orchestrator.planning.unit import Unit


def fit(trainable: Any, search: tune.search.Searcher, num_trials: int, at_once: int, job: Job) -> None:
    """Run a Tuner to its end or until draining. Raises Interrupted when the user asked to stop."""
    tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=search,
            num_samples=num_trials,
            max_concurrent_trials=at_once,
            reuse_actors=True,  # a sampling actor keeps its model between cells
            trial_name_creator=short_name,
            trial_dirname_creator=short_name,
        ),
        run_config=tune.RunConfig(
            storage_path=f"{job.scratch}/tune",
            verbose=0,
            callbacks=[UnitCallback(job.progress)],
            stop=DrainStopper(job.draining),
            # For processes that die, killed or out of memory: the next try goes on from the last checkpoint.
            failure_config=tune.FailureConfig(max_failures=2),
        ),
    ).fit()
    # Tune returns as usual when its searcher and its stopper
    # end the run early; only we know that it was asked to.
    if job.draining.requested:
        raise Interrupted("stopped as asked; run the same command to go on")


def short_name(trial: Trial) -> str:
    """A trial's folder: its id alone, as a unit's configuration makes too long a name for a file system."""
    return str(trial.trial_id)


class DrainStopper(tune.Stopper):
    """Stops a trial at its next report, which follows a checkpoint, once draining was asked for."""

    def __init__(self, draining: Draining) -> None:
        self.draining = draining

    def __call__(self, trial_id: str, result: RayValues) -> bool:
        """Whether this trial ends now."""
        return self.draining.requested

    def stop_all(self) -> bool:
        """Never at once: running units reach their next report."""
        return False


class UnitCallback(tune.Callback):
    """Tells the progress view what Tune's trials do.

    Tune calls back in the driver's own loop and in order: a trial starts (again, when its process died and is
    retried), reports any number of times, and then either completes or is in error. A trial whose unit failed
    by an exception of ours completes too; its last report says so.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def __getstate__(self) -> RayValues:
        """Tune pickles its callbacks for a restore that never happens here."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A unit begins, or begins again after its process died."""
        self.progress.unit_started(Unit.from_json(trial.config["unit"]))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: RayValues, **info: Any
    ) -> None:
        """A unit reports."""
        self.progress.unit_reported(Unit.from_json(trial.config["unit"]), result)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A unit ends by itself."""
        self.progress.unit_ended(Unit.from_json(trial.config["unit"]))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A unit's process died for good."""
        self.progress.unit_died(Unit.from_json(trial.config["unit"]))
