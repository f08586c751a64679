"""Loads a configuration: from a file, a mapping or nothing; checked whole, with every problem told at once.

Nothing is created and nothing is spent before a configuration came through here. Keys and endpoints
of the far side are in `engine.settings.environment`; the shape of the file is `schemas.config`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from engine.errors import ConfigError
from engine.settings import keys
from engine.settings.advice import advise
from engine.settings.environment import Credentials, Secret, env_files, find_credentials, find_key, redact
from engine.settings.problems import validate
from engine.settings.yamlfile import SIZE_BYTES_MAX, Lines, read_yaml
from schemas.config import RunConfig

__all__ = [
    "CONFIG_NAME",
    "Credentials",
    "Secret",
    "Settings",
    "find_config",
    "find_credentials",
    "find_key",
    "load",
    "redact",
]

CONFIG_NAME = "config/generation_config.yaml"
RUN_NAME = "run.json"

_FROM_ENV = {"OUTPUT_DIR": "output.output_dir", "LOG_LEVEL": "logging.level", "LOG_FILE": "logging.log_file"}
_MOOT_ENV = {
    "ATROPIA_DATA_URL": "nothing is fetched from the web; save the pages and set source_data.atropia.path",
    "WORLDBANK_DATA_URL": "nothing is fetched from the web; download the files and set source_data.worldbank.path",
    "RAW_DATA_DIR": "sources are read where source_data.*.path says",
    "QA_DIR": "the QA report is written to qa/ in the run directory",
}
"""Names of the original's .env. They are read from .env files only: LOG_LEVEL or OUTPUT_DIR in a
shell may belong to any other program."""


class Settings(Struct, frozen=True, kw_only=True):
    """A sound configuration and where it came from."""

    config: RunConfig
    path: Path | None
    """The file, or None for a mapping or the built-in defaults."""
    base_dir: Path
    """The project folder: relative paths of the configuration start here."""
    warnings: tuple[str, ...]

    def get(self, dotted: str, default: Any = None) -> Any:
        """The value at a dotted key, such as `settings.get("generation.num_images")`."""
        here: Any = self.config
        for word in keys.split(dotted):
            here = here.get(word) if isinstance(here, Mapping) else getattr(here, word, None)
            if here is None:
                return default
        return here

    def resolve(self, path: str) -> Path:
        """A path of the configuration as an absolute one."""
        return (self.base_dir / Path(path).expanduser()).absolute()


def load(
    source: RunConfig | Mapping[str, Any] | Path | str | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    today: date | None = None,
) -> Settings:
    """The configuration of a file, a mapping, or (None) of the nearest config/generation_config.yaml.

    A run's run.json, or its folder, gives the configuration that the run was last taken up with. Without a file the
    built-in defaults hold. `overrides` are dotted keys and win over all else: `{"generation.num_images": 20}`.
    Raises ConfigError with every problem.
    """
    today = today or datetime.now(UTC).date()
    data: dict[str, Any]
    lines: Lines = {}
    warnings: list[str] = []
    if isinstance(source, RunConfig):
        name, path, base_dir, data = "configuration", None, Path.cwd(), source.model_dump(exclude_unset=True)
    elif isinstance(source, Mapping):
        name, path, base_dir, data = "configuration", None, Path.cwd(), dict(source)
    elif source is not None and not isinstance(source, str | os.PathLike):
        raise ConfigError(
            f"config is {source!r:.80} ({type(source).__name__}); "
            "give a RunConfig, a mapping, or the path of a YAML file"
        )
    else:
        path = _chosen(source)
        name = _display(path) if path else "configuration"
        base_dir = project_dir(path) if path else Path.cwd()
        data, lines = _read(path, name) if path else ({}, {})
        if path is not None and path.name == RUN_NAME:
            base_dir, data, lines = _of_run(data, name)
        data, lines = _with_env_files(data, lines, base_dir, warnings)
    for dotted, value in (overrides or {}).items():
        at = keys.split(dotted)
        data = keys.put(data, at, value)
        lines = {k: v for k, v in lines.items() if k[: len(at)] != at}
    config, problems = validate(_plain(data), name, lines)
    if config is None:
        raise ConfigError(problems)
    return Settings(
        config=config,
        path=path,
        base_dir=base_dir,
        warnings=(*warnings, *advise(config, data, today)),
    )


def find_config(start: Path) -> Path | None:
    """The nearest config/generation_config.yaml, in a folder or above it."""
    for folder in (start, *start.parents):
        candidate = folder / CONFIG_NAME
        if candidate.is_file():
            return candidate
    return None


def project_dir(path: Path) -> Path:
    """The folder that relative paths of a configuration file start from."""
    folder = path.absolute().parent
    if folder.name == "presets" and folder.parent.name == "config":
        folder = folder.parent
    return folder.parent if folder.name == "config" else folder


def _chosen(source: Path | str | None) -> Path | None:
    if source is None:
        return find_config(Path.cwd())
    path = Path(source).expanduser()
    if path.is_dir():
        inside = path / CONFIG_NAME
        if (path / RUN_NAME).is_file():
            return (path / RUN_NAME).absolute()
        if not inside.is_file():
            raise ConfigError(f"{path}: is a folder without {CONFIG_NAME}; write one with: groundswell init {path}")
        return inside.absolute()
    return path.absolute()


def _read(path: Path, name: str) -> tuple[dict[str, Any], Lines]:
    try:
        with path.open("rb") as f:
            data = f.read(SIZE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise ConfigError(f"{name}: no such file; write one with: groundswell init") from None
    except OSError as e:
        raise ConfigError(f"{name}: cannot be read ({e.strerror}); check its permissions") from None
    return read_yaml(data, name)


def _of_run(manifest: dict[str, Any], name: str) -> tuple[Path, dict[str, Any], Lines]:
    """The project folder and the configuration that run.json holds. Its lines are nobody's to edit."""
    config, origin = manifest.get("config"), manifest.get("origin")
    if not isinstance(config, dict):
        raise ConfigError(f"{name}: holds no configuration; give the run.json of a run, or a configuration file")
    project = origin.get("project") if isinstance(origin, dict) else None
    return Path(project) if isinstance(project, str) else Path.cwd(), config, {}


def _with_env_files(
    data: dict[str, Any], lines: Lines, base_dir: Path, warnings: list[str]
) -> tuple[dict[str, Any], Lines]:
    files, _ = env_files(base_dir)
    seen: set[str] = set()
    for file_name, values in files:
        for name, value in values.items():
            if name in seen:
                continue
            seen.add(name)
            if name in _MOOT_ENV:
                warnings.append(f"{name} in {file_name} has no effect here: {_MOOT_ENV[name]}")
            elif name in _FROM_ENV:
                dotted = _FROM_ENV[name]
                at = keys.split(dotted)
                if keys.has(data, at):
                    warnings.append(f"{name}={value} in {file_name} wins over {dotted} of the configuration file")
                data = keys.put(data, at, value)
                lines = {k: v for k, v in lines.items() if k != at}
    return data, lines


def _plain(value: Any, path: keys.Path = ()) -> Any:
    """Mappings as dicts with text keys, paths as text; a section whose keys are all commented out is empty."""
    if value is None and keys.is_section(path):
        return {}
    if isinstance(value, Mapping):
        return {str(k): _plain(v, (*path, str(k))) for k, v in value.items()}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value


def _display(path: Path) -> str:
    """A path as a user would write it: relative to here where it lies below."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
