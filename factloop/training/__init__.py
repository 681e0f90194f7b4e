"""Training: one loop for every model, with checkpoints that survive a kill at any point.

In: a model, a loss over a batch of examples, settings. Out: the trained model and its curve.
The loop is ours because resuming bit for bit and stopping on collapse are what users rely on;
optimiser, scheduler and numerics are PyTorch's.
"""

from .fit import CannotTrain, Progress, TrainingDiverged, fit, likelihood

__all__ = ["CannotTrain", "Progress", "TrainingDiverged", "fit", "likelihood"]
