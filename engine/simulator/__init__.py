"""A loopback server that speaks Gemini's wire format: for the demo, for tests, for benchmarks."""

from engine.simulator.faults import CATALOGUE, FaultKind, Faults
from engine.simulator.latency import Latency
from engine.simulator.quotas import Quota
from engine.simulator.server import Simulator
from engine.simulator.stats import Seen, Stats

__all__ = ["CATALOGUE", "FaultKind", "Faults", "Latency", "Quota", "Seen", "Simulator", "Stats"]
