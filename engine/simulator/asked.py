"""What a client asked: a generateContent body, read leniently where Google is lenient and refused where it refuses."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
from msgspec import Struct

from engine.simulator import wire
from engine.simulator.marks import read_prompt
from schemas.models import ModelInfo

_SIZES_GEMINI_2 = {
    "1:1": (1024, 1024),
    "2:3": (832, 1248),
    "3:2": (1248, 832),
    "3:4": (864, 1184),
    "4:3": (1184, 864),
    "4:5": (896, 1152),
    "5:4": (1152, 896),
    "9:16": (768, 1344),
    "16:9": (1344, 768),
    "21:9": (1536, 672),
}
_SIZES_GEMINI_3 = {
    "1:1": (1024, 1024),
    "2:3": (848, 1264),
    "3:2": (1264, 848),
    "3:4": (896, 1200),
    "4:3": (1200, 896),
    "4:5": (928, 1152),
    "5:4": (1152, 928),
    "9:16": (768, 1376),
    "16:9": (1376, 768),
    "21:9": (1584, 672),
    "1:4": (512, 2048),
    "4:1": (2048, 512),
    "1:8": (384, 3072),
    "8:1": (3072, 384),
}
_SIZE_FACTORS = {"512": 0.5, "0.5K": 0.5, "1K": 1.0, "2K": 2.0, "4K": 4.0}
_IMAGE_PROMPT_TOKENS = 258
_CHARACTERS_PER_TOKEN = 4


class BadRequest(Exception):
    """The request can never work; `body` is the error Google would send."""

    def __init__(self, message: str, code: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.body = wire.error(code, message)


class Asked(Struct, frozen=True, kw_only=True):
    """One generateContent request, as far as it decides the answer."""

    model: ModelInfo
    text: str
    """All text of the request, system instruction first, parts joined by newlines."""
    picture_digests: tuple[str, ...]
    """SHA-256 of the base64 text of each picture that came along."""
    picture_prompts: tuple[str, ...]
    """What those pictures say they were drawn for, where the simulator drew them."""
    wants_picture: bool
    wants_text_too: bool
    width: int
    height: int
    image_size: str
    schema: dict[str, Any] | None
    wants_json: bool
    max_output_tokens: int | None
    wants_thoughts: bool
    digest: str
    """Identifies what is asked (model, text, pictures, schema, size), the same for a repeated request."""

    @property
    def prompt_text_tokens(self) -> int:
        return max(1, len(self.text) // _CHARACTERS_PER_TOKEN)

    @property
    def prompt_image_tokens(self) -> int:
        return _IMAGE_PROMPT_TOKENS * len(self.picture_digests)

    @property
    def image_tokens(self) -> int:
        if not self.wants_picture:
            return 0
        return self.model.image_tokens.get(self.image_size) or max(self.model.image_tokens.values(), default=1120)

    @property
    def cost_usd(self) -> float:
        """What the call would cost, thinking left out; zero where the price is unknown."""
        m = self.model
        cost = (self.prompt_text_tokens + self.prompt_image_tokens) * (m.input_usd_per_m or 0.0)
        cost += self.image_tokens * (m.image_usd_per_m or 0.0)
        return cost / 1e6


def text_tokens(text: str) -> int:
    """How many tokens this text counts as here."""
    return max(1, len(text) // _CHARACTERS_PER_TOKEN)


def _get(node: Any, camel: str, snake: str | None = None) -> Any:
    """A member under its proto3-JSON name, or under the snake_case name that Google takes as well."""
    if not isinstance(node, dict):
        return None
    value = node.get(camel)
    return node.get(snake) if value is None and snake is not None else value


def _parts(content: Any) -> list[Any]:
    if not isinstance(content, dict) or not isinstance(content.get("parts"), list):
        raise BadRequest("* GenerateContentRequest.contents: contents is not specified\n")
    return content["parts"]


def read_request(body: bytes, model: ModelInfo) -> Asked:
    """The request in these bytes. Raises `BadRequest` with Google's words."""
    try:
        root = orjson.loads(body)
    except orjson.JSONDecodeError as e:
        raise BadRequest(f"Invalid JSON payload received. {e}") from e
    contents = _get(root, "contents")
    if isinstance(contents, dict):
        contents = [contents]
    if not isinstance(contents, list) or not contents:
        raise BadRequest("* GenerateContentRequest.contents: contents is not specified\n")
    texts: list[str] = []
    digests: list[str] = []
    prompts: list[str] = []
    system = _get(root, "systemInstruction", "system_instruction")
    for part in [*(_parts(system) if system is not None else ()), *(p for c in contents for p in _parts(c))]:
        text = _get(part, "text")
        blob = _get(part, "inlineData", "inline_data")
        if isinstance(text, str):
            texts.append(text)
        elif blob is not None:
            data = _get(blob, "data")
            if not isinstance(data, str) or not data:
                raise BadRequest("Unable to process input image. Please retry or report.")
            digests.append(hashlib.sha256(data.encode()).hexdigest())
            prompt = read_prompt(data)
            if prompt:
                prompts.append(prompt)
    config = _get(root, "generationConfig", "generation_config") or {}
    return _asked(model, "\n".join(texts), tuple(digests), tuple(prompts), config)


def _asked(
    model: ModelInfo, text: str, digests: tuple[str, ...], prompts: tuple[str, ...], config: dict[str, Any]
) -> Asked:
    modalities = {str(m).upper() for m in _get(config, "responseModalities", "response_modalities") or ()}
    if "IMAGE" in modalities and not model.draws:
        raise BadRequest("The requested combination of response modalities (IMAGE) is not supported by the model.")
    wants_picture = model.draws and (not modalities or "IMAGE" in modalities)
    image_config = _get(config, "imageConfig", "image_config") or {}
    width, height, image_size = _dimensions(model, image_config) if wants_picture else (0, 0, "1K")
    mime_type = _get(config, "responseMimeType", "response_mime_type")
    schema = _get(config, "responseJsonSchema", "response_json_schema") or _get(
        config, "responseSchema", "response_schema"
    )
    if model.draws and (schema is not None or mime_type == "application/json"):
        raise BadRequest("JSON mode is not enabled for this model")
    if schema is not None and mime_type != "application/json":
        raise BadRequest(
            "Invalid value at 'generation_config.response_schema': response schema is only supported with the mime "
            "types application/json and text/x.enum."
        )
    maximum = _get(config, "maxOutputTokens", "max_output_tokens")
    thinking = _get(config, "thinkingConfig", "thinking_config") or {}
    identity = [model.name, text, list(digests), schema, width, height]
    return Asked(
        model=model,
        text=text,
        picture_digests=digests,
        picture_prompts=prompts,
        wants_picture=wants_picture,
        wants_text_too=wants_picture and "TEXT" in modalities,
        width=width,
        height=height,
        image_size=image_size,
        schema=schema,
        wants_json=mime_type == "application/json",
        max_output_tokens=maximum if isinstance(maximum, int) else None,
        wants_thoughts=bool(_get(thinking, "includeThoughts", "include_thoughts")),
        digest=hashlib.blake2b(orjson.dumps(identity), digest_size=16).hexdigest(),
    )


def _dimensions(model: ModelInfo, image_config: dict[str, Any]) -> tuple[int, int, str]:
    table = _SIZES_GEMINI_2 if model.name.startswith("gemini-2") else _SIZES_GEMINI_3
    ratio = _get(image_config, "aspectRatio", "aspect_ratio") or "1:1"
    size = _get(image_config, "imageSize", "image_size") or "1K"
    if ratio not in table:
        known = ", ".join(f"'{r}'" for r in table)
        raise BadRequest(f"aspect_ratio must be one of {known}, got '{ratio}'")
    name = "0.5K" if size == "512" else size
    if name not in _SIZE_FACTORS or (model.image_tokens and name not in model.image_tokens):
        known = ", ".join(f"'{s}'" for s in model.image_tokens)
        raise BadRequest(f"image_size must be one of {known}, got '{size}'")
    width, height = table[ratio]
    return int(width * _SIZE_FACTORS[name]), int(height * _SIZE_FACTORS[name]), name
