"""`groundswell status DIR`: what the log says, also while a run is live."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("dir", metavar="DIR", help="the run directory")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Print the status."""
    import orjson

    from engine.runtime.status import StageStatus, read_status

    status = read_status(Path(args.dir))
    if args.json:
        sys.stdout.buffer.write(orjson.dumps(status.as_dict()) + b"\n")
        return 0
    from engine.observe.console import duration

    def told(name: str, stage: StageStatus) -> list[str]:
        parts = [f"{stage.ok} of {stage.asked} ok"]
        parts += [f"{n} {word}" for word, n in (("refused", stage.refused), ("failed", stage.failed)) if n]
        if stage.pending:
            parts.append(f"{stage.pending} to go at {stage.per_minute:g}/min ({duration(stage.left_s)})")
        if stage.in_doubt:
            parts.append(f"{stage.in_doubt} {'in flight' if status.live else 'in doubt'}")
        lines = [f"{name:<10}{', '.join(parts)}; {stage.attempts} attempts, ${stage.cost_usd:.4f}"]
        if stage.rejected:
            lines.append(f"{'':<10}{stage.rejected} calls turned away by quotas (not attempts, not paid)")
        if stage.reopened:
            lines.append(f"{'':<10}{stage.reopened} asked for again after they were settled")
        if stage.failures:
            lines.append(f"{'':<10}errors: " + ", ".join(f"{kind} {n}" for kind, n in stage.failures.items()))
        return lines

    budget = f" of ${status.budget_usd:.2f}" if status.budget_usd is not None else ""
    per_image = ""
    if status.usd_per_image is not None:
        guess = status.usd_per_image_estimated
        per_image = f", ${status.usd_per_image:.4f} per image" + (f" (estimated ${guess:.4f})" if guess else "")
    lines = [
        f"{status.run}: run {status.run_id}, {'live' if status.live else 'not running'}",
        *told("images", status.images),
        *told("metadata", status.metadata),
        f"{'money':<10}${status.cost_usd:.4f}{budget}{per_image}",
    ]
    for name, model in status.models.items():
        used = "" if model.utilisation is None else f" of {model.limit_per_minute:g} ({model.utilisation:.0%})"
        used += "" if model.limit_learned is None else f", {model.limit_learned:g}/min learned"
        turned = f", {model.rejected} turned away" if model.rejected else ""
        lines.append(
            f"{'quota':<10}{name}: {model.requests} requests ({model.requests_today} today), "
            f"{model.per_minute:g}/min{used}{turned}"
        )
    if status.last_at:
        lines.append(f"{'log':<10}{status.first_at} to {status.last_at}")
    if status.damaged_lines:
        lines.append(f"{status.damaged_lines} damaged log lines: run `groundswell verify {status.run} --repair`")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0
