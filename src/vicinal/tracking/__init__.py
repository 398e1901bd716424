"""Trackers: what a study's runs log, sent to the experiment trackers that it names. None of them is a dependency."""

from vicinal.tracking.runs import TrackerRun
from vicinal.tracking.trackers import TRACKERS, Tracker, Trackers, open_trackers

__all__ = ["TRACKERS", "Tracker", "TrackerRun", "Trackers", "open_trackers"]
