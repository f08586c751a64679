"""groundswell: synthetic image datasets from Google Gemini, at the speed of your quota, resumable.

    import engine

    async with engine.open_run("runs/a", config) as run:      # config: RunConfig, dict or path
        async for record in run.records():                    # as they settle
            ...
    summary = await engine.run(config, out="runs/a")

Both take `provider=` and `observer=`. Nothing here starts a loop, handles a signal or touches
logging. Names load on first use, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.errors import (
        ConfigError,
        EngineError,
        Fatal,
        LogDamaged,
        NoRun,
        ProviderError,
        RunLocked,
        RunMismatch,
        SourceError,
        StoreError,
    )
    from engine.observe.events import Event, Observer
    from engine.providers.base import Picture, Provider, Response
    from engine.providers.scripted import ScriptedProvider
    from engine.runtime.live import Run
    from engine.runtime.pipeline import open_run, run
    from engine.runtime.summary import Counts, Summary
    from engine.simulator import Simulator
    from schemas.config import RunConfig
    from schemas.record import ImageRecord, MetadataRecord, Record

_WHERE = {
    # runs
    "Run": "engine.runtime.live",
    "open_run": "engine.runtime.pipeline",
    "run": "engine.runtime.pipeline",
    "Counts": "engine.runtime.summary",
    "Summary": "engine.runtime.summary",
    # data
    "ImageRecord": "schemas.record",
    "MetadataRecord": "schemas.record",
    "Record": "schemas.record",
    "RunConfig": "schemas.config",
    # roles
    "Event": "engine.observe.events",
    "Observer": "engine.observe.events",
    "Picture": "engine.providers.base",
    "Provider": "engine.providers.base",
    "Response": "engine.providers.base",
    "ScriptedProvider": "engine.providers.scripted",
    "Simulator": "engine.simulator",
    # errors
    "ConfigError": "engine.errors",
    "EngineError": "engine.errors",
    "Fatal": "engine.errors",
    "LogDamaged": "engine.errors",
    "NoRun": "engine.errors",
    "ProviderError": "engine.errors",
    "RunLocked": "engine.errors",
    "RunMismatch": "engine.errors",
    "SourceError": "engine.errors",
    "StoreError": "engine.errors",
}

__all__ = [
    "ConfigError",
    "Counts",
    "EngineError",
    "Event",
    "Fatal",
    "ImageRecord",
    "LogDamaged",
    "MetadataRecord",
    "NoRun",
    "Observer",
    "Picture",
    "Provider",
    "ProviderError",
    "Record",
    "Response",
    "Run",
    "RunConfig",
    "RunLocked",
    "RunMismatch",
    "ScriptedProvider",
    "Simulator",
    "SourceError",
    "StoreError",
    "Summary",
    "open_run",
    "run",
]


_POLARS_ENV = "_RJEM_MALLOC_CONF"
"""What polars leaves in the environment for its allocator, which has read it by then. The host's stays as it was."""


def __getattr__(name: str) -> Any:
    module = _WHERE.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    kept = os.environ.get(_POLARS_ENV)
    value = getattr(importlib.import_module(module), name)
    if kept is None:
        os.environ.pop(_POLARS_ENV, None)
    elif os.environ.get(_POLARS_ENV) != kept:
        os.environ[_POLARS_ENV] = kept
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
