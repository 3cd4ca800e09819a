"""A custom scheduler for `examples/own_scheduler.toml`: stops trials that have not improved for some epochs.

A scheduler is a `ray.tune.schedulers.TrialScheduler`; Ray Tune's FIFOScheduler is one that stops no trial.
"""

from ray.tune.schedulers import FIFOScheduler


class PatienceScheduler(FIFOScheduler):
    """Receives results with `epoch` and all metrics; without `milestones`, each epoch is a separate result."""

    def __init__(self, patience=3):
        super().__init__()
        self.patience = patience
        self.best = {}  # trial -> (score, epoch)

    def on_trial_result(self, tune_controller, trial, result):
        score, epoch = self.best.get(trial.trial_id, (float("-inf"), 0))
        if result[self.metric] > score:
            self.best[trial.trial_id] = (result[self.metric], result["epoch"])
        elif result["epoch"] - epoch >= self.patience:
            return self.STOP
        return self.CONTINUE
