"""Whole sittings: a study file from a folder and a teacher, a distillation in given minutes, and which teacher to learn from."""

from vicinal.recipes.distill import Request, distill
from vicinal.recipes.rank import Ranked, Ranking, rank
from vicinal.recipes.start import write_study

__all__ = ["Ranked", "Ranking", "Request", "distill", "rank", "write_study"]
