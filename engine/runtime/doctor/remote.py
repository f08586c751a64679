"""Questions to the far side: does it answer, which models may this key use, and, on demand, one real trial."""

from __future__ import annotations

import difflib
import hashlib
import time
from pathlib import Path

import anyio
import msgspec
from msgspec import Struct

from engine.core.cost import price
from engine.errors import ConfigError, EngineError, ProviderError
from engine.providers.base import Provider
from engine.providers.gemini import open_gemini
from engine.providers.sdk import ModelSummary
from engine.runtime.doctor.check import Check
from engine.settings import Credentials, redact
from engine.stages.expected import picture_record
from engine.stages.image import image_job
from engine.stages.metadata import metadata_jobs, read_answer
from engine.store.picture import check_picture
from schemas.config import RunConfig
from schemas.models import MODELS
from schemas.outcome import Asset, ErrorKind
from schemas.prompt import Prompt

_STEPS = {
    ErrorKind.AUTH: "check the key at https://aistudio.google.com/apikey; a leaked or restricted one must be replaced",
    ErrorKind.NO_QUOTA: "link billing to the key's project; image models have no free tier",
    ErrorKind.REGION: "enable billing, or use the API from a supported region",
    ErrorKind.CONNECT: "check the network, a proxy (HTTPS_PROXY) or --base-url",
    ErrorKind.REFUSED: "the prompt was blocked, which says nothing about the key; try another model",
    ErrorKind.QUOTA_DAY: "wait for midnight Pacific",
    ErrorKind.INVALID: "run: pip install --upgrade google-genai groundswell",
    ErrorKind.MODEL: "choose one of the models below as generation.model",
}
TRIAL_PROMPT = (
    "A realistic photograph of a peaceful community gathering in a fictional town square at golden hour: "
    "people of different ages stand in small groups with hand-painted signs without readable text."
)


class Offered(Struct, frozen=True, kw_only=True):
    """A model that the key may use."""

    name: str
    draws: bool | None
    """None: not known."""
    configured_as: str | None
    """Such as "generation.model"."""


class Trial(Struct, frozen=True, kw_only=True):
    """One real image and its caption."""

    image_path: str | None = None
    image_s: float | None = None
    image_usd: float | None = None
    width: int | None = None
    height: int | None = None
    caption: str | None = None
    caption_s: float | None = None
    caption_usd: float | None = None


class Visit(Struct, frozen=True, kw_only=True):
    """What the far side said."""

    checks: tuple[Check, ...]
    models: tuple[Offered, ...] = ()
    trial: Trial | None = None


async def visit(
    config: RunConfig, credentials: Credentials, *, key: str | None, base_url: str | None, live_dir: Path | None
) -> Visit:
    """Ask the far side; with `live_dir` also for one image and one caption, which cost money."""
    backend = config.generation.backend
    if backend == "developer" and key is None:
        return Visit(checks=(Check(name="connection", status="skip", detail="nobody to ask without a key"),))
    try:
        async with open_gemini(
            api_key=key,
            backend=backend,
            base_url=base_url,
            project=credentials.project,
            location=credentials.location,
            transport=config.transport,
            timeout_s=min(config.rate_limiting.call_timeout_s, 180.0),
        ) as provider:
            started = time.perf_counter()
            listed = await provider.list_models()
            took_s = time.perf_counter() - started
            checks = [
                Check(
                    name="connection",
                    status="ok",
                    detail=f"{base_url or 'Google'} answers in {took_s * 1000:.0f} ms; the key is accepted",
                )
            ]
            models = _offered(listed, config)
            checks += _configured(models, config, listed)
            trial = None
            if live_dir is not None:
                trial, tried = await _try(provider, config, live_dir)
                checks += tried
            return Visit(checks=tuple(checks), models=models, trial=trial)
    except ProviderError as error:
        return Visit(checks=(_failed("connection", error, key),))
    except ConfigError as error:
        return Visit(
            checks=(
                Check(
                    name="connection",
                    status="fail",
                    detail=redact(str(error), key),
                    next_step="set what the message names, and try again",
                ),
            )
        )


def _failed(name: str, error: ProviderError, key: str | None = None) -> Check:
    step = _STEPS.get(error.kind, "wait a little and try again; https://status.cloud.google.com tells of outages")
    return Check(name=name, status="fail", detail=redact(f"{error.kind.value}: {error.message}", key), next_step=step)


def _offered(listed: list[ModelSummary], config: RunConfig) -> tuple[Offered, ...]:
    """The models that generate content: the configured ones first, then those that draw, then the rest."""
    roles = {config.metadata.model: "metadata.model", config.generation.model: "generation.model"}
    found: list[Offered] = []
    for model in listed:
        if model.actions and "generateContent" not in model.actions:
            continue
        info = MODELS.get(model.name)
        draws = info.draws if info else (True if "image" in model.name else None)
        found.append(Offered(name=model.name, draws=draws, configured_as=roles.get(model.name)))
    found.sort(key=lambda m: (m.configured_as is None, not m.draws, m.name))
    return tuple(found)


def _configured(offered: tuple[Offered, ...], config: RunConfig, listed: list[ModelSummary]) -> list[Check]:
    names = [m.name for m in offered]
    checks: list[Check] = []
    for role, wanted in (("generation.model", config.generation.model), ("metadata.model", config.metadata.model)):
        if wanted in names:
            checks.append(Check(name="model", status="ok", detail=f"{role}: {wanted} is there for this key"))
            continue
        fitting = [m.name for m in offered if bool(m.draws) == (role == "generation.model")]
        near = difflib.get_close_matches(wanted, fitting, n=3, cutoff=0.0)
        checks.append(
            Check(
                name="model",
                # Vertex lists only a part of what it serves.
                status="fail" if config.generation.backend == "developer" else "warn",
                detail=f"{role}: {wanted} is not among the {len(listed)} models of this key",
                next_step=f"set {role} to one of: {', '.join(near)}" if near else "ask for access to a Gemini model",
            )
        )
    return checks


async def _try(provider: Provider, config: RunConfig, folder: Path) -> tuple[Trial, list[Check]]:
    prompt = Prompt(index=1, image_id="doctor_0001", text=TRIAL_PROMPT)
    job, table = image_job(config, prompt), config.price_table()
    try:
        started = time.perf_counter()
        response = await provider.call(job.request)
        image_s = time.perf_counter() - started
        assert response.picture is not None, "a picture was asked for"
        picture = check_picture(response.picture.data)
        path = folder / f"test_image{picture.suffix}"
        await anyio.to_thread.run_sync(_keep, path, response.picture.data)
    except ProviderError as error:
        return Trial(), [_failed("test image", error)]
    except (OSError, ValueError, EngineError) as error:
        return Trial(), [
            Check(name="test image", status="fail", detail=str(error), next_step="try again; the answer was no picture")
        ]
    image_usd = price(job.request.model, response.usage, "standard", table)
    trial = Trial(
        image_path=str(path), image_s=image_s, image_usd=image_usd, width=picture.width, height=picture.height
    )
    checks = [
        Check(
            name="test image",
            status="ok",
            detail=f"{picture.width}x{picture.height} in {image_s:.1f} s, {_usd(image_usd)}: {path}",
        )
    ]
    asset = Asset(
        path=path.name,
        sha256=hashlib.sha256(response.picture.data).hexdigest(),
        size_bytes=len(response.picture.data),
        mime_type=picture.mime_type,
        width=picture.width,
        height=picture.height,
    )
    caption, told = await _try_caption(provider, config, job.id, asset, path)
    return msgspec.structs.replace(trial, **caption), [*checks, told]


async def _try_caption(
    provider: Provider, config: RunConfig, job: str, asset: Asset, path: Path
) -> tuple[dict[str, str | float | None], Check]:
    only = config.model_copy(update={"metadata": config.metadata.model_copy(update={"tasks": ("caption",)})})
    record = picture_record(config, TRIAL_PROMPT, asset, job=job, image_id="doctor_0001")
    request = next(metadata_jobs(only, record, str(path))).request
    try:
        started = time.perf_counter()
        response = await provider.call(request)
        caption_s = time.perf_counter() - started
        caption: str = read_answer(only.metadata, ("caption",), response.text)["caption"]
    except ProviderError as error:
        return {}, _failed("test caption", error)
    usd = price(request.model, response.usage, "standard", config.price_table())
    return (
        {"caption": caption, "caption_s": caption_s, "caption_usd": usd},
        Check(name="test caption", status="ok", detail=f"in {caption_s:.1f} s, {_usd(usd)}: {caption}"),
    )


def _keep(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _usd(value: float | None) -> str:
    return "price unknown" if value is None else f"${value:.4f}"
