"""Quality assurance of a run: every picture, every text, the set as a whole."""

from engine.qa.model import FLAGS, Options, Progress, QAReport
from engine.qa.rejected import Rejected, rejected, rejected_ids, rejected_texts, to_redo
from engine.qa.run import run_qa

__all__ = [
    "FLAGS",
    "Options",
    "Progress",
    "QAReport",
    "Rejected",
    "rejected",
    "rejected_ids",
    "rejected_texts",
    "run_qa",
    "to_redo",
]
