"""`groundswell init [DIR]`: a configuration to start from, with every key explained. Overwrites nothing unasked."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from engine.errors import ConfigError
from engine.settings import CONFIG_NAME, load
from engine.settings.envfile import ENV_EXAMPLE
from engine.settings.presets import PRESETS
from engine.settings.template import render

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `groundswell init`."""
    parser.add_argument(
        "dir", nargs="?", type=Path, default=Path(), metavar="DIR", help="project folder (default: here)"
    )
    parser.add_argument(
        "--preset", choices=sorted(PRESETS), help="start from: " + ", ".join(sorted(PRESETS)) + " (config/presets)"
    )
    parser.add_argument("--force", action="store_true", help="overwrite files that are there")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def run(args: argparse.Namespace) -> int:
    """Write config/generation_config.yaml, config/.env.example and config/.gitignore."""
    preset = PRESETS[args.preset] if args.preset else None
    config = load({}, overrides=preset.sets if preset else {}).config
    files = {
        CONFIG_NAME: render(config),
        "config/.env.example": ENV_EXAMPLE,
        "config/.gitignore": "# The key must not be committed.\n.env\n",
    }
    folder = Path(args.dir)
    targets = {folder / name: text for name, text in files.items()}
    # What is there with the same words is left alone, and no obstacle.
    same = [p for p, text in targets.items() if _holds(p, text)]
    in_the_way = [p for p in targets if p not in same and (p.exists() or p.is_symlink())]
    if in_the_way and not args.force:
        raise ConfigError([f"{p}: is already there; keep it, or overwrite it with --force" for p in in_the_way])
    written: list[str] = []
    for path, text in targets.items():
        if path not in same:
            _write(path, text)
            written.append(str(path))
    if args.json:
        sys.stdout.write(json.dumps({"written": written, "unchanged": [str(p) for p in same]}) + "\n")
    else:
        out = sys.stdout
        for name in written:
            out.write(f"wrote {name}\n")
        for path in same:
            out.write(f"{path} is as it should be\n")
        out.write(
            f"\nNext: copy {folder / 'config/.env.example'} to {folder / 'config/.env'} and put your key there;\n"
            "then groundswell doctor, groundswell estimate, groundswell run.\n"
            "Without a key: groundswell demo, or groundswell run --simulate.\n"
        )
    return 0


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text
    except (OSError, UnicodeDecodeError):
        return False


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror}); choose another folder") from error
