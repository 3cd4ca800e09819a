"""A scheduler of one's own, for `examples/own_scheduler.toml`: stop who has not improved for some epochs.

A scheduler is a `ray.tune.schedulers.TrialScheduler`; Ray Tune's FIFOScheduler is one that stops nobody.
"""

from ray.tune.schedulers import FIFOScheduler


class PatienceScheduler(FIFOScheduler):
    """Results hold `epoch` and every metric; without `milestones` each epoch is a result of its own."""

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
