"""Between google-genai's words and ours: a client, a request, an error, a model.

google-genai itself is imported inside, since that takes a second.
"""

from __future__ import annotations

import gc
import importlib
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import aiohttp
from msgspec import Struct

from engine.errors import ConfigError
from engine.providers import classify
from engine.providers.http1 import Reply
from schemas.job import Request
from schemas.models import MODELS
from schemas.outcome import ErrorKind

if TYPE_CHECKING:
    from google.genai import Client

DEVELOPER_URL = "https://generativelanguage.googleapis.com/"
API_VERSION = {"developer": "v1beta", "vertex": "v1beta1"}
VERTEX_ADVICE = (
    "For Vertex AI set GOOGLE_CLOUD_PROJECT and GOOGLE_CLOUD_LOCATION and sign in with `gcloud auth "
    "application-default login`; or set GOOGLE_API_KEY alone; or unset GOOGLE_GENAI_USE_VERTEXAI for the Developer API"
)

Backend = Literal["developer", "vertex"]


class ModelSummary(Struct, frozen=True, kw_only=True):
    """A model as the far side lists it."""

    name: str
    """Without the leading "models/"."""
    display_name: str | None = None
    actions: tuple[str, ...] = ()
    """Such as "generateContent"; empty where the far side does not say (Vertex)."""
    input_tokens_max: int | None = None
    output_tokens_max: int | None = None


def load() -> None:
    """Import google-genai; takes a second.

    It makes a hundred thousand objects that stay. The collector would go through them several times meanwhile, and
    once more, for a tenth of a second, between the first calls. It does once, now, in the time it is spared meanwhile.
    """
    if "google.genai.types" in sys.modules:
        return
    collecting = gc.isenabled()
    gc.disable()
    try:
        importlib.import_module("google.genai.types")
    finally:
        if collecting:
            gc.enable()
    if collecting:
        gc.collect()


def open_client(
    session: aiohttp.ClientSession,
    api_key: str | None,
    backend: Backend,
    base_url: str | None,
    project: str | None,
    location: str | None,
    timeout_s: float,
) -> Client:
    """The SDK's client, which sends on our session. Raises ConfigError."""
    from google import genai
    from google.genai import types

    options = types.HttpOptions(
        base_url=base_url,
        api_version=API_VERSION[backend],
        timeout=max(1, round(timeout_s * 1000)),
        headers={"Accept-Encoding": "identity"},
        retry_options=types.HttpRetryOptions(attempts=1),
        aiohttp_client=session,
    )
    try:
        if backend == "vertex":
            return genai.Client(
                vertexai=True, api_key=api_key, project=project, location=location, http_options=options
            )
        return genai.Client(vertexai=False, api_key=api_key, http_options=options)
    except Exception as error:  # noqa: BLE001  whatever it is, it is about these settings
        advice = f". {VERTEX_ADVICE}" if backend == "vertex" else ""
        refused = classify.tidy(f"google-genai refuses these settings: {error}", (api_key or "",))
        raise ConfigError(refused.rstrip(".") + advice) from None


def sends_on(client: Client, session: aiohttp.ClientSession) -> bool:
    """Whether the SDK will send on our session. Were it not so, catching a request would send it."""
    try:
        api: Any = client._api_client
        return bool(api._use_aiohttp()) and api._http_options.aiohttp_client is session
    except AttributeError:
        return False


def generation_of(request: Request, pictures: Sequence[bytes]) -> tuple[Any, Any]:
    """A request as the SDK wants it: contents and configuration."""
    from google.genai import types

    parts = [
        types.Part(inline_data=types.Blob(data=data, mime_type=reference.mime_type))
        for reference, data in zip(request.references, pictures, strict=True)
    ]
    parts.append(types.Part(text=request.text))
    config = types.GenerateContentConfig(
        system_instruction=request.system,
        temperature=request.temperature,
        seed=request.seed,
        max_output_tokens=request.output_tokens_max,
        # The SDK's own loops would pay again inside one call.
        automatic_continuation=False,
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        should_return_http_response=True,
    )
    if request.wants_picture:
        config.response_modalities = ["IMAGE"]
        image = types.ImageConfig(aspect_ratio=request.aspect_ratio, image_size=_image_size(request))
        if image.aspect_ratio or image.image_size:
            config.image_config = image
    else:
        config.response_mime_type = "application/json"
        config.response_json_schema = request.answer_schema
    return [types.Content(role="user", parts=parts)], config


def _image_size(request: Request) -> str | None:
    """The SDK's name of the size; None where the model draws only one and takes no such parameter."""
    model = MODELS.get(request.model)
    if request.resolution is None or (model is not None and tuple(model.image_tokens) == ("1K",)):
        return None
    return "512" if request.resolution == "0.5K" else request.resolution


def reply_of(error: Any) -> Reply:
    """An APIError as the HTTP answer it was made of."""
    headers = classify.lower_headers(getattr(error.response, "headers", {}).items())
    details = error.details
    if isinstance(details, dict) and set(details) == {"message", "status"} and not classify.has_error(details):
        body = str(details["message"] or "").encode("utf-8", "surrogateescape")  # A page, as the SDK wraps it.
    else:
        body = json.dumps(details).encode()
    return Reply(int(error.code or 0), headers, body)


def auth_kind(error: Exception) -> ErrorKind | None:
    """What an error of google-auth is to us; None for any other."""
    from google.auth import exceptions

    if isinstance(error, exceptions.TransportError):
        return ErrorKind.CONNECT
    return ErrorKind.AUTH if isinstance(error, exceptions.GoogleAuthError) else None


def summary_of(model: Any) -> ModelSummary:
    """A model that the SDK lists."""
    return ModelSummary(
        name=str(model.name or "").removeprefix("models/").removeprefix("publishers/google/models/"),
        display_name=model.display_name,
        actions=tuple(model.supported_actions or ()),
        input_tokens_max=model.input_token_limit,
        output_tokens_max=model.output_token_limit,
    )
