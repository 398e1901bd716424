"""The one training loop: phases, schedules, checkpoints, and students stepped together."""

from vicinal.training.learner import Learner
from vicinal.training.loop import train, train_steps
from vicinal.training.phases import run_images, training_plan
from vicinal.training.state import TrainingData

__all__ = ["Learner", "TrainingData", "run_images", "train", "train_steps", "training_plan"]
