"""The page."""

from engine.qa.model import QAReport
from engine.qa.report import Findings


def render(report: QAReport, findings: Findings, *, seed: int = 0) -> bytes:
    return b"<!doctype html>"
