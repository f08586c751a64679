"""Keys and endpoints: from the process environment, then config/.env, then .env. Never written back.

The key lives in a `Secret`, whose text forms hide it, until a provider reveals it.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from urllib.parse import quote

from dotenv import dotenv_values
from msgspec import Struct

ENV_FILES = ("config/.env", ".env")
"""Relative to the project folder; the first one that has a name wins."""
KEY_NAMES = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
"""The first wins over the second, as in the SDK."""
SECRET_CHARS_MIN = 8
"""Real keys have 39 characters."""
_PLACEHOLDERS = ("your_", "your-", "<", "xxx", "changeme", "change_me", "replace", "paste", "insert", "todo", "...")


class Secret:
    """A text that must not be shown. `reveal()` is the only way to it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself, for the one who sends it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __format__(self, format_spec: str) -> str:
        return "***"

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not written down")


class Credentials(Struct, frozen=True, kw_only=True):
    """How to reach Gemini, as far as the environment and the .env files say."""

    key: Secret | None = None
    key_from: str | None = None
    """Such as "GOOGLE_API_KEY in config/.env"."""
    base_url: str | None = None
    vertex: bool = False
    """GOOGLE_GENAI_USE_VERTEXAI asks for Vertex AI."""
    project: str | None = None
    location: str | None = None
    notes: tuple[str, ...] = ()
    """What a user should know: a placeholder, two keys, an unreadable file."""


def env_files(base_dir: Path) -> tuple[list[tuple[str, dict[str, str]]], list[str]]:
    """The .env files of a project, each with its name and values, and notes on unreadable ones."""
    read: list[tuple[str, dict[str, str]]] = []
    notes: list[str] = []
    for name in ENV_FILES:
        path = base_dir / name
        try:
            if path.is_file():
                text = path.read_text(encoding="utf-8-sig")
                values = _parse(text)
                read.append((name, values))
        except (OSError, UnicodeDecodeError) as e:
            reason = e.strerror if isinstance(e, OSError) else "not UTF-8 text"
            notes.append(f"{path}: cannot be read ({reason}); its settings are not used")
    return read, notes


def _parse(text: str) -> dict[str, str]:
    return {k: v for k, v in dotenv_values(stream=StringIO(text), interpolate=False).items() if v}


def find_credentials(base_dir: Path, environ: Mapping[str, str]) -> Credentials:
    """Key, endpoint and Vertex settings for a project folder."""
    files, notes = env_files(base_dir)
    places = [("the environment", dict(environ)), *files]

    def first(*names: str) -> str | None:
        return next((v for _, place in places for n in names if (v := place.get(n, "").strip())), None)

    key, key_from = None, None
    for place_name, place in places:
        for name in KEY_NAMES:
            value = place.get(name, "").strip()
            if not value:
                continue
            if _placeholder(value):
                notes.append(
                    f"{name} in {place_name} is still the placeholder; put a key from "
                    "https://aistudio.google.com/apikey there"
                )
            elif key is None:
                key, key_from = Secret(value), f"{name} in {place_name}"
            elif value != key.reveal():
                notes.append(f"{name} in {place_name} holds another key; {key_from} is used")
    return Credentials(
        key=key,
        key_from=key_from,
        base_url=first("GOOGLE_GEMINI_BASE_URL"),
        vertex=(first("GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_ENTERPRISE") or "").lower() in {"1", "true"},
        project=first("GOOGLE_CLOUD_PROJECT", "PROJECT_ID"),
        location=first("GOOGLE_CLOUD_LOCATION", "REGION"),
        notes=tuple(notes),
    )


def find_key(base_dir: Path, environ: Mapping[str, str]) -> Secret | None:
    """The API key of a project folder, or None."""
    return find_credentials(base_dir, environ).key


def _placeholder(value: str) -> bool:
    lowered = value.lower()
    return any(c.isspace() for c in value) or lowered.startswith(_PLACEHOLDERS)


def redact(text: str, secret: Secret | str | None) -> str:
    """The text without the secret, whole or in its URL-quoted form."""
    value = secret.reveal() if isinstance(secret, Secret) else secret
    if not value or len(value) < SECRET_CHARS_MIN:
        return text  # a stand-in such as "k" for a test server: hiding it would tear words apart
    return text.replace(value, "***").replace(quote(value, safe=""), "***")
