"""`groundswell simulate`: the loopback Gemini server, for rehearsals and other programs' tests."""

from __future__ import annotations

from engine.simulator.command import add_arguments, run

__all__ = ["add_arguments", "run"]
