"""Could a run work here? Each question is a small function that answers with checks.

`local` asks this machine, `remote` asks the far side; nothing is paid for unless `live` is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from engine.runtime.doctor import local, remote
from engine.runtime.doctor.check import Check
from engine.runtime.estimate import Sum, estimate
from engine.runtime.pipeline import SIMULATED_KEY
from engine.settings import Settings, find_credentials

__all__ = ["Check", "Diagnosis", "examine"]


class Diagnosis(Struct, frozen=True, kw_only=True):
    """What the doctor found."""

    checks: tuple[Check, ...]
    models: tuple[remote.Offered, ...]
    """What the key can use; empty if nobody was asked."""
    costs: tuple[Sum, ...]
    paced_by: str
    """What the times of `costs` come from."""
    config: dict[str, Any]
    """The resolved values."""
    config_path: str | None
    live: remote.Trial | None

    @property
    def works(self) -> bool:
        """Whether a run could work."""
        return not any(c.status == "fail" for c in self.checks)


async def examine(
    settings: Settings,
    *,
    environ: Mapping[str, str],
    now: datetime,
    base_url: str | None = None,
    api_key: str | None = None,
    network: bool = True,
    live: bool = False,
    live_dir: Path,
    on_check: Callable[[Check], None] = lambda _: None,
) -> Diagnosis:
    """All checks in order; `on_check` hears of each as it is done. `now` carries the local time zone."""
    import anyio

    found: list[Check] = []

    def tell(*checks: Check) -> None:
        for check in checks:
            found.append(check)
            on_check(check)

    config, credentials = settings.config, find_credentials(settings.base_dir, environ)
    tell(*local.versions(), *local.packages())
    tell(*local.configuration(settings))
    tell(local.key(credentials, config.generation.backend, given=api_key is not None))
    out = settings.resolve(config.output.output_dir)
    # Only the simulator is reached with a key of the caller's own.
    simulated = api_key == SIMULATED_KEY
    tell(*await anyio.to_thread.run_sync(lambda: tuple(local.folder(out, config, simulated=simulated))))
    tell(await anyio.to_thread.run_sync(local.disk_speed, out, config.output.durability))
    tell(local.handles(config), local.clock(now))
    offered: tuple[remote.Offered, ...] = ()
    trial: remote.Trial | None = None
    if network:
        key = api_key or (credentials.key.reveal() if credentials.key else None)
        answer = await remote.visit(
            config, credentials, key=key, base_url=base_url or credentials.base_url, live_dir=live_dir if live else None
        )
        tell(*answer.checks)
        offered, trial = answer.models, answer.trial
    else:
        tell(Check(name="connection", status="skip", detail="not asked for (--offline)"))
    costs = estimate(config, today=now.date())
    return Diagnosis(
        checks=tuple(found),
        models=offered,
        costs=costs.sums,
        paced_by=costs.paced_by,
        config=config.model_dump(mode="json"),
        config_path=str(settings.path) if settings.path else None,
        live=trial,
    )
