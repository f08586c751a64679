"""Writes what is generated from the schema: config/*.yaml and the tables of docs/configuration.md.

`python -m engine.settings` in the repository; tests/config checks that nothing is stale.
"""

from __future__ import annotations

from pathlib import Path

from engine.settings.envfile import ENV_EXAMPLE
from engine.settings.presets import PRESETS
from engine.settings.template import reference, render, render_preset

BEGIN, END = "<!-- generated: python -m engine.settings -->\n", "<!-- end of generated -->\n"


def generated(root: Path) -> dict[Path, str]:
    """Every generated file of the repository with what it should hold."""
    docs = root / "docs" / "configuration.md"
    before, _, rest = docs.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    return {
        root / "config" / "generation_config.yaml": render(),
        root / "config" / ".env.example": ENV_EXAMPLE,
        **{root / "config" / "presets" / f"{name}.yaml": render_preset(p) for name, p in PRESETS.items()},
        docs: before + BEGIN + "\n" + reference() + "\n" + END + after,
    }


def main() -> None:
    for path, text in generated(Path.cwd()).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
