"""The one training loop: phases, schedules, checkpoints, students stepped together, and the processes that share it."""

from vicinal.training.learner import Learner
from vicinal.training.loop import train, train_steps
from vicinal.training.optimizers import check_optimizer
from vicinal.training.parallel import SINGLE, Parallel, SingleProcess
from vicinal.training.parts import check_parts
from vicinal.training.phases import trained_image_count, trained_row_count, training_plan
from vicinal.training.processes import LostProcessError, processes, sharing
from vicinal.training.sharded import shard
from vicinal.training.state import TrainingData

__all__ = [
    "SINGLE",
    "Learner",
    "LostProcessError",
    "Parallel",
    "SingleProcess",
    "TrainingData",
    "check_optimizer",
    "check_parts",
    "processes",
    "shard",
    "sharing",
    "train",
    "train_steps",
    "trained_image_count",
    "trained_row_count",
    "training_plan",
]
