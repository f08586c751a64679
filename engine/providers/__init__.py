"""Providers: who draws and writes. One protocol, three ways to fulfil it.

`gemini` speaks to Gemini (with `sdk`, the only one that imports google.genai, and only when it is used),
`scripted` plays from memory, `simulator` (next door) is a server that `gemini` can be pointed at.
"""

from engine.providers.base import Picture, Provider, Response

__all__ = ["Picture", "Provider", "Response"]
