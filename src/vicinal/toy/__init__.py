"""The two-dimensional toy of figure 2: the arms' decision boundaries."""

from vicinal.toy.experiment import TITLES, ToySpec, run_toy
from vicinal.toy.write import check_toy_folder, write_toy

__all__ = ["TITLES", "ToySpec", "check_toy_folder", "run_toy", "write_toy"]
