"""Gemini's wire format from the server's side: the JSON that Google's endpoints send, and nothing else.

Bodies are indented as Google indents them, because a client that cuts spans out of the bytes meets
exactly that. Where no recorded body is known (spend limit, images per minute) the shape follows the
recorded ones, and the comment says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from schemas.models import ModelInfo

Json = dict[str, Any]

STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

MESSAGES = {
    400: "Request contains an invalid argument.",
    401: "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
    "authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
    403: "The caller does not have permission",
    404: "Requested entity was not found.",
    408: "The request timed out.",
    413: "Request payload size exceeds the limit: 104857600 bytes.",
    429: "Resource has been exhausted (e.g. check quota).",
    499: "The operation was cancelled.",
    500: "An internal error has occurred. Please retry or report in "
    "https://developers.generativeai.google/guide/troubleshooting",
    501: "Operation is not implemented, or supported, or enabled.",
    502: "The service is currently unavailable.",
    503: "The model is overloaded. Please try again later.",
    504: "Deadline expired before operation could complete.",
}

NO_KEY = (
    "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other "
    "form of API consumer identity to call this API."
)
BAD_KEY = "API key not valid. Please pass a valid API key."
LEAKED_KEY = "Your API key was reported as leaked. Please use another API key."
DISABLED = (
    "Generative Language API has not been used in project 123456789012 before or it is disabled. Enable it by visiting "
    "https://console.developers.google.com/apis/api/generativelanguage.googleapis.com/overview?project=123456789012 "
    "then retry."
)
WRONG_REGION = "User location is not supported for the API use."
NO_BILLING = (
    "Gemini API free tier is not available in your country. Please enable billing on your project in Google AI Studio."
)
PREPAY_DEPLETED = (
    "Your prepayment credits are depleted. Please go to AI Studio at https://ai.studio/projects to manage your project "
    "and billing."
)
_QUOTA_MESSAGE = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this error, "
    "head to: https://ai.google.dev/gemini-api/docs/rate-limits. To monitor your current usage, head to: "
    "https://ai.dev/rate-limit. "
)
_HELP = {
    "@type": "type.googleapis.com/google.rpc.Help",
    "links": [
        {
            "description": "Learn more about Gemini API quotas",
            "url": "https://ai.google.dev/gemini-api/docs/rate-limits",
        }
    ],
}


def encode(value: Any) -> bytes:
    """JSON as Google sends it: two spaces of indentation, a newline at the end."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def error(code: int, message: str | None = None, *, status: str | None = None, details: Sequence[Json] = ()) -> Json:
    """An error body; message and status default to what Google says with this code."""
    body: Json = {
        "code": code,
        "message": MESSAGES.get(code, "Unknown error.") if message is None else message,
        "status": status or STATUS_NAMES.get(code, "UNKNOWN"),
    }
    if details:
        body["details"] = list(details)
    return {"error": body}


def error_info(reason: str) -> Json:
    """A google.rpc.ErrorInfo detail."""
    return {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "googleapis.com",
        "metadata": {"service": "generativelanguage.googleapis.com"},
    }


def bad_key() -> Json:
    """A key that Google does not know: a 400, not a 401."""
    message = {"@type": "type.googleapis.com/google.rpc.LocalizedMessage", "locale": "en-US", "message": BAD_KEY}
    return error(400, BAD_KEY, details=(error_info("API_KEY_INVALID"), message))


def model_not_found(model: str, version: str, method: str) -> Json:
    """What the Developer API says to a model it does not have."""
    return error(
        404,
        f"models/{model} is not found for API version {version}, or is not supported for {method}. Call ListModels to "
        "see the list of available models and their supported methods.",
    )


def publisher_model_not_found(path: str) -> Json:
    """What Vertex AI says to a model it does not have."""
    return error(404, f"Publisher Model `{path}` was not found or your project does not have access to it.")


# Per limit: metric and quotaId. The first three and both per-day ids are recorded; images and spend follow them.
QUOTA_NAMES: Mapping[str, tuple[str, str]] = {
    "rpm": ("generate_content_paid_tier_requests", "GenerateRequestsPerMinutePerProjectPerModel"),
    "rpd": ("generate_content_paid_tier_requests", "GenerateRequestsPerDayPerProjectPerModel"),
    "tpm": ("generate_content_paid_tier_2_input_token_count", "GenerateContentPaidTierInputTokensPerModelPerMinute"),
    "ipm": ("generate_content_paid_tier_images", "GenerateImagesPerMinutePerProjectPerModel"),
    "usd_per_10min": ("generate_content_paid_tier_spend", "GenerateContentSpendPerTenMinutesPerProject"),
    "free": ("generate_content_free_tier_requests", "GenerateRequestsPerDayPerProjectPerModel"),
}


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:g}"


def quota_error(
    model: str,
    violated: Sequence[tuple[str, float]],
    wait_s: float,
    *,
    tier: str = "PaidTier2",
    retry_info_s: float | None = None,
) -> Json:
    """A 429 with QuotaFailure, Help and RetryInfo, as recorded from Google.

    `violated` are (limit name, value) pairs, names as in `QUOTA_NAMES`. The message says `wait_s`;
    RetryInfo says `retry_info_s`, by default the same (Google's two do disagree at times).
    """
    message = _QUOTA_MESSAGE
    violations: list[Json] = []
    for name, value in violated:
        metric, quota_id = QUOTA_NAMES[name]
        metric = f"generativelanguage.googleapis.com/{metric}"
        message += f"\n* Quota exceeded for metric: {metric}, limit: {_number(value)}, model: {model}"
        violation: Json = {
            "quotaMetric": metric,
            "quotaId": f"{quota_id}-{tier}",
            "quotaDimensions": {"location": "global", "model": model},
        }
        if value > 0:  # Google leaves the value out where it is zero
            violation["quotaValue"] = _number(value)
        violations.append(violation)
    message += f"\nPlease retry in {wait_s:.9f}s."
    delay_s = wait_s if retry_info_s is None else retry_info_s
    return error(
        429,
        message,
        details=(
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": violations},
            _HELP,
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{_number(round(delay_s, 3))}s"},
        ),
    )


def usage(*, prompt_text: int, prompt_image: int = 0, text: int = 0, image: int = 0, thoughts: int = 0) -> Json:
    """usageMetadata for these token counts."""
    prompt = [{"modality": "TEXT", "tokenCount": prompt_text}]
    if prompt_image:
        prompt.append({"modality": "IMAGE", "tokenCount": prompt_image})
    body: Json = {"promptTokenCount": prompt_text + prompt_image}
    if text + image:
        body["candidatesTokenCount"] = text + image
    body["totalTokenCount"] = prompt_text + prompt_image + text + image + thoughts
    body["promptTokensDetails"] = prompt
    if image:
        body["candidatesTokensDetails"] = [{"modality": "IMAGE", "tokenCount": image}]
    if thoughts:
        body["thoughtsTokenCount"] = thoughts
    return body


def candidate(parts: Sequence[Json] | None, *, finish: str = "STOP", finish_message: str | None = None) -> Json:
    """One candidate; without parts its content is empty, as it is for a filtered picture."""
    content: Json = {"role": "model"} if parts is None else {"parts": list(parts), "role": "model"}
    body: Json = {"content": content, "finishReason": finish}
    if finish_message is not None:
        body["finishMessage"] = finish_message
    body["index"] = 0
    return body


def response(candidates: Sequence[Json], usage_metadata: Json, *, model: str, response_id: str) -> Json:
    """A generateContent answer."""
    return {
        "candidates": list(candidates),
        "usageMetadata": usage_metadata,
        "modelVersion": model,
        "responseId": response_id,
    }


def blocked(reason: str, usage_metadata: Json, *, model: str, response_id: str) -> Json:
    """A generateContent answer to a prompt that was blocked: no candidates."""
    return {
        "promptFeedback": {"blockReason": reason},
        "usageMetadata": usage_metadata,
        "modelVersion": model,
        "responseId": response_id,
    }


def picture_part(mime_type: str, data: str, *, thought: bool = False, signature: str | None = None) -> Json:
    """A part that carries a picture."""
    part: Json = {"inlineData": {"mimeType": mime_type, "data": data}}
    if thought:
        part["thought"] = True
    if signature is not None:
        part["thoughtSignature"] = signature
    return part


def model_entry(model: ModelInfo) -> Json:
    """A model as ListModels and GetModel describe it."""
    return {
        "name": f"models/{model.name}",
        "version": "001",
        "displayName": f"{model.name} (simulated)",
        "description": "Simulated by groundswell: no model is behind it.",
        "inputTokenLimit": 65_536 if model.draws else 1_048_576,
        "outputTokenLimit": 32_768 if model.draws else 65_536,
        "supportedGenerationMethods": ["generateContent", "countTokens", "batchGenerateContent"],
        "temperature": 1,
        "topP": 0.95,
        "topK": 64,
        "maxTemperature": 2,
        "thinking": bool(model.thinking_tokens),
    }


def publisher_model_entry(model: ModelInfo) -> Json:
    """A model as Vertex AI's list and get describe it."""
    return {
        "name": f"publishers/google/models/{model.name}",
        "versionId": "001",
        "openSourceCategory": "PROPRIETARY",
        "launchStage": "GA",
        "publisherModelTemplate": f"projects/{{project}}/locations/{{location}}/publishers/google/models/{model.name}",
    }
