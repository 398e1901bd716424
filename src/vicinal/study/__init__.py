"""A study to runs, runs to `results.json`: what is done is skipped, what was killed continues."""

from vicinal.study.banks import Shard, build_banks, list_banks, verify_banks
from vicinal.study.data_check import DataCheck, check_data
from vicinal.study.executor import Executor, InOrder, Job, in_order
from vicinal.study.groups import bank_layout
from vicinal.study.plan import PlannedRun, StudyPlan
from vicinal.study.run import Study, execute, run_job
from vicinal.study.summary import PlanSummary, RunSummary, summarize
from vicinal.study.work import study_of_work, work

__all__ = [
    "DataCheck",
    "Executor",
    "InOrder",
    "Job",
    "PlanSummary",
    "PlannedRun",
    "RunSummary",
    "Shard",
    "Study",
    "StudyPlan",
    "bank_layout",
    "build_banks",
    "check_data",
    "execute",
    "in_order",
    "list_banks",
    "run_job",
    "study_of_work",
    "summarize",
    "verify_banks",
    "work",
]
