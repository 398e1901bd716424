"""Study and run folders, atomic files, locks, what a person sees meanwhile, and what this machine is.

OUT/study.json               what the folder is for, written first
OUT/jobs.json                the study's value and its jobs, for `vicinal work` and `vicinal status`; OUT/work/ what each is doing
OUT/runs/<run>/spec.json     what defines the run
               log.jsonl     a line for each epoch, for people; what is computed from it is read from checkpoint and mark
               checkpoint.pt while it trains
               weights.safetensors, done.json   when it is done
               network.json  when it is measured: classes, side, normalisation, fitted temperature
               predictions-<fingerprint>.safetensors   its logits, which every measure is computed from; and further answers
OUT/banks/<fingerprint>/      teachers' answers along a plan, read by every arm that shares it; may be deleted
OUT/images.csv                which image stands at which position of the stored logits
OUT/results.json, resamples.npz, report.html, tables/, figures/
"""

from vicinal.workspace.array_cache import ArrayCache
from vicinal.workspace.checksums import (
    DamagedError,
    Seal,
    SealedArrays,
    Streamed,
    check_sealed_file,
    mapping_seal,
    read_sealed_json,
    safetensors_seal,
    sealed_mapping,
    write_sealed_file,
    write_sealed_json,
    write_sealed_tensors,
)
from vicinal.workspace.content import (
    ContentHashes,
    cache_folder,
    content_hash_of,
    content_hashes_of,
    findings_in,
    hashes_of_parts,
)
from vicinal.workspace.files import (
    cannot_write,
    clear_leftovers,
    write_atomically,
    write_file_atomically,
    write_json,
)
from vicinal.workspace.format import format_bytes, format_seconds
from vicinal.workspace.jobs import (
    JOBS_FILE,
    MOST_ATTEMPTS,
    JobState,
    StoredJob,
    StoredWork,
    counted_as_worker,
    forget_failures,
    is_worked_on,
    read_state,
    read_work,
    recorded_threads,
    reported,
    tidy,
    write_work,
)
from vicinal.workspace.lock import HeldError, check_not_held, hold, locked
from vicinal.workspace.machine import available_memory, environment, free_bytes, keep_freed_memory, processor
from vicinal.workspace.nursery import FORKS, MOST_BYTES, Nursed, NurseryLostError, nursery
from vicinal.workspace.place import check_place
from vicinal.workspace.progress import Beat, EpochListener, RunProgress, SlowWork, StudyProgress, shown_if_slow
from vicinal.workspace.remote import RemoteFolder, folder_or_url
from vicinal.workspace.remote_jobs import RemoteJobs, fetched_folder, kept_folder
from vicinal.workspace.run_folder import RunFolder
from vicinal.workspace.status import JobStatus, StudyStatus, status_at, status_of
from vicinal.workspace.study_folder import STUDY_FILE, check_out_folder, check_study_folder, open_study_folder
from vicinal.workspace.terminal import printable, say, told_if_slow
from vicinal.workspace.torchrun import Launched, launched

__all__ = [
    "FORKS",
    "JOBS_FILE",
    "MOST_ATTEMPTS",
    "MOST_BYTES",
    "STUDY_FILE",
    "ArrayCache",
    "Beat",
    "ContentHashes",
    "DamagedError",
    "EpochListener",
    "HeldError",
    "JobState",
    "JobStatus",
    "Launched",
    "Nursed",
    "NurseryLostError",
    "RemoteFolder",
    "RemoteJobs",
    "RunFolder",
    "RunProgress",
    "Seal",
    "SealedArrays",
    "SlowWork",
    "StoredJob",
    "StoredWork",
    "Streamed",
    "StudyProgress",
    "StudyStatus",
    "available_memory",
    "cache_folder",
    "cannot_write",
    "check_not_held",
    "check_out_folder",
    "check_place",
    "check_sealed_file",
    "check_study_folder",
    "clear_leftovers",
    "content_hash_of",
    "content_hashes_of",
    "counted_as_worker",
    "environment",
    "fetched_folder",
    "findings_in",
    "folder_or_url",
    "forget_failures",
    "format_bytes",
    "format_seconds",
    "free_bytes",
    "hashes_of_parts",
    "hold",
    "is_worked_on",
    "keep_freed_memory",
    "kept_folder",
    "launched",
    "locked",
    "mapping_seal",
    "nursery",
    "open_study_folder",
    "printable",
    "processor",
    "read_sealed_json",
    "read_state",
    "read_work",
    "recorded_threads",
    "reported",
    "safetensors_seal",
    "say",
    "sealed_mapping",
    "shown_if_slow",
    "status_at",
    "status_of",
    "tidy",
    "told_if_slow",
    "write_atomically",
    "write_file_atomically",
    "write_json",
    "write_sealed_file",
    "write_sealed_json",
    "write_sealed_tensors",
    "write_work",
]
