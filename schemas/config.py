"""RunConfig: the shape of config/generation_config.yaml, with every default and every meaning.

Keys of the original workshop pipeline keep their names. `Field.description` is what the generated
template (`groundswell init`) and docs/configuration.md say; `json_schema_extra={"moot": …}` marks a
key that has no effect here, with the reason users are told when their file sets it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from schemas.models import DEFAULT_IMAGE_MODEL, DEFAULT_TEXT_MODEL, IMAGE_MODELS, MODELS, TEXT_MODELS, ModelInfo
from schemas.vocabulary import VOCABULARY, plain_label

Positive = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
Price = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0, le=1_000_000_000)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


def _moot(default: Any, description: str, why: str) -> Any:
    return Field(default=default, description=description, json_schema_extra={"moot": why})


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, protected_namespaces=())


class Generation(Section):
    """What is drawn, and with which model."""

    num_images: Count = Field(
        default=50, description="How many images the run holds. Asking for more later continues it."
    )
    batch_size: Count = _moot(10, "Images per batch in the original.", "every image is its own checkpoint here")
    resolution: Literal["0.5K", "1K", "2K", "4K"] = Field(
        default="1K", description="Picture size; more pixels cost more tokens."
    )
    model: str = Field(default=DEFAULT_IMAGE_MODEL, description="Gemini image model: " + ", ".join(IMAGE_MODELS) + ".")
    aspect_ratio: str = Field(
        default="1:1", description='Such as "1:1", "16:9", "9:16", "4:3", "3:4".', pattern=r"^\d{1,2}:\d{1,2}$"
    )
    seed: int = Field(
        default=20260121, ge=0, lt=2**63, description="The prompt stream depends on it, and on nothing random."
    )
    temperature: float | None = Field(
        default=None, ge=0, le=2, description="As the SDK has it; null leaves it to the model."
    )
    backend: Literal["developer", "vertex"] = Field(
        default="developer", description="Gemini Developer API or Vertex AI."
    )
    enable_checkpoints: bool = _moot(
        True, "Checkpoints in the original.", "the log is the checkpoint; resume is always on"
    )
    checkpoint_file: str = _moot(
        "data/checkpoints/generation_checkpoint.json", "Checkpoint file in the original.", "the log is the checkpoint"
    )

    @field_validator("model")
    @classmethod
    def _known(cls, value: str) -> str:
        if value in IMAGE_MODELS or (value.startswith("gemini-") and value not in MODELS):
            return value
        if value in TEXT_MODELS:
            raise ValueError(f"{value} writes text and draws no pictures; use one of {', '.join(IMAGE_MODELS)}")
        raise ValueError(f"not a Gemini image model; use one of {', '.join(IMAGE_MODELS)}")


STYLES = ("realistic", "artistic", "documentary", "photojournalistic")
COMPLEXITIES = ("simple", "medium", "complex")


class Prompts(Section):
    """How prompts are made of the three sources."""

    style: Literal["realistic", "artistic", "documentary", "photojournalistic"] = Field(
        default="realistic", description="realistic, artistic, documentary or photojournalistic."
    )
    complexity: Literal["simple", "medium", "complex"] = Field(
        default="medium", description="Length and detail of prompts: simple, medium (60-140 words), complex."
    )
    include_temporal_context: bool = Field(default=True, description="Name time of day, weather and season.")
    include_demographics: bool = Field(default=True, description="Name the people, drawn through the survey's weights.")
    themes: tuple[str, ...] = Field(
        default=(
            "protest",
            "civic_engagement",
            "political_rally",
            "community_gathering",
            "grassroots_organizing",
            "demonstrations",
            "social media post",
        ),
        min_length=1,
        description="Forms of social movement to show.",
    )
    settings: tuple[str, ...] = Field(
        default=(
            "urban_city_center",
            "town_square",
            "university_campus",
            "government_building",
            "public_park",
            "street_march",
            "online comments",
            "digital posts",
        ),
        min_length=1,
        description="Places to show.",
    )


Task = Literal["caption", "labels", "comments"]


class Metadata(Section):
    """What is written about each image."""

    model: str = Field(default=DEFAULT_TEXT_MODEL, description="Gemini text model that looks at the image.")
    mode: Literal["together", "separate"] = Field(
        default="together", description="together: one call for caption, labels and comments. separate: one call each."
    )
    tasks: tuple[Task, ...] = Field(
        default=("caption", "labels", "comments"), min_length=1, description="What to ask for."
    )
    num_comments_per_image: int = Field(default=5, ge=0, le=50, description="Social-media comments per image.")
    include_hashtags: bool = Field(default=True, description="Comments may carry hashtags.")
    include_emojis: bool = Field(default=True, description="Comments may carry emojis.")
    num_caption_variations: int = Field(
        default=1, ge=1, le=10, description="Captions per image; the first is the caption."
    )
    language: str | None = Field(
        default=None,
        pattern=r"^[a-z]{2,3}$",
        description="Language of captions and comments as an ISO 639 code such as de, fr, uk, ar; null: English.",
    )
    label_categories: tuple[str, ...] = Field(
        default=(
            "scene_type",
            "setting",
            "activity_level",
            "crowd_size",
            "time_of_day",
            "sentiment",
            "primary_subjects",
            "digital text",
            "informational",
            "illustrations",
        ),
        min_length=1,
        max_length=40,
        description="Categories to label; the known ones have a vocabulary, others are free text.",
    )

    @field_validator("model")
    @classmethod
    def _known(cls, value: str) -> str:
        if value in TEXT_MODELS or (value.startswith("gemini-") and value not in MODELS):
            return value
        raise ValueError(f"not a Gemini text model; use one of {', '.join(TEXT_MODELS)}")

    @field_validator("tasks", "label_categories")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("names an entry twice; remove the second")
        return value


class Limits(Section):
    """Limits of one model. null: no limit of ours."""

    requests_per_minute: Positive | None = Field(default=None, description="RPM quota.")
    requests_per_day: Count | None = Field(default=None, description="RPD quota; the day turns at midnight Pacific.")
    tokens_per_minute: Positive | None = Field(default=None, description="Input tokens per minute.")
    images_per_minute: Positive | None = Field(default=None, description="IPM quota of image models.")
    usd_per_10_minutes: Positive | None = Field(
        default=None, description="Spend per rolling ten minutes; Google's tiers 1/2/3 have 10/50/200."
    )
    max_in_flight: Count | None = Field(default=None, description="Calls in flight at once.")


class RateLimiting(Limits):
    """How fast the engine may ask. Applies to each model."""

    max_in_flight: Count | None = Field(default=256, description="Calls in flight at once, per model.")
    enable_exponential_backoff: bool = Field(
        default=True, description="false: a retry comes after the initial delay alone."
    )
    initial_retry_delay: Positive = Field(default=2.0, description="Seconds before the first retry, before jitter.")
    max_retries: int = Field(
        default=3,
        ge=0,
        le=20,
        description="Tries in all for what is worth more than one; 3, as in the original, is three calls.",
    )
    backoff_multiplier: float = Field(default=2.0, ge=1, le=10, description="Growth of the delay from retry to retry.")
    models: dict[str, Limits] = Field(default={}, description="Overrides for one model, by name.")
    call_timeout_s: Positive = Field(default=180.0, description="One deadline per call: connect, read and stall.")
    in_doubt: Literal["retry", "skip"] = Field(
        default="retry",
        description="After a crash, calls that were in flight: retry asks again, skip never pays twice.",
    )


NEWS_THEMES = (
    "political_unrest",
    "protests",
    "elections",
    "civil_society",
    "government_response",
    "economic_conditions",
    "social_movements",
    "gender_violence",
)
"""Themes of news, as the original names them; the last one was configured there but had no item."""


class Atropia(Section):
    """Fictional news."""

    path: str | None = Field(
        default=None, description="JSON, CSV, or a folder of saved pages; null: the bundled world."
    )
    num_samples: Count | None = Field(default=None, description="Use at most so many news items.")
    focus_themes: tuple[str, ...] = Field(default=(), description="Keep news of these themes; empty: all.")


DEMOGRAPHICS = ("age_group", "occupation", "education_level", "urban_rural", "household_composition", "gender")


class WorldBank(Section):
    """Synthetic demographics."""

    path: str | None = Field(
        default=None,
        description="Survey files (.dta, .csv, .parquet, .zip, or a folder of them); null: the bundled sample.",
    )
    demographic_categories: tuple[str, ...] = Field(default=DEMOGRAPHICS, description="What may be said of a person.")
    num_profiles: Count | None = Field(default=None, description="Draw so many people through the weights; null: all.")
    adults_only: bool = Field(default=True, description="Leave out people under 18.")


class SocialMedia(Section):
    """Visual references."""

    path: str | None = Field(
        default=None, description="JSON, JSONL, CSV or a folder with sidecars; null: the bundled guides."
    )
    mode: Literal["text", "images"] = Field(
        default="text", description="text: descriptions only. images: pictures are sent too; needs consent and licence."
    )
    max_reference_images: Count | None = Field(default=None, description="Use at most so many pictures.")
    max_descriptions: Count | None = Field(default=None, description="Use at most so many descriptions.")
    references_per_prompt: int = Field(
        default=1, ge=1, le=14, description="Pictures sent with one prompt, in mode images."
    )


class SourceData(Section):
    """Where context comes from."""

    atropia: Atropia = Field(default_factory=Atropia)
    worldbank: WorldBank = Field(default_factory=WorldBank)
    social_media: SocialMedia = Field(default_factory=SocialMedia)


class Output(Section):
    """Where and how things are kept."""

    output_dir: str = Field(default="data/generated", description="The run directory; --out wins over it.")
    durability: Literal["strict", "batch", "none"] = Field(
        default="strict",
        description="strict: on disk before anything follows. batch: may lose a second. none: the OS decides.",
    )
    save_intermediate: bool = _moot(True, "Checkpoints in the original.", "every image and line is saved at once")
    image_format: Literal["png", "jpg", "jpeg", "webp"] = Field(
        default="png",
        description="For `export --format workshop`: pictures of another type are converted. The run itself keeps them "
        "byte for byte as the model sends them.",
    )
    metadata_format: Literal["json", "csv"] = Field(default="json", description="For `export --format workshop`.")
    export_csv_summaries: bool = Field(
        default=True, description="For `export --format workshop`: all_captions.csv and others."
    )
    date_organized: bool = _moot(
        True, "Dated ids in the original.", "image ids always carry the run's date: sm_20260121_0001"
    )
    images_dir: str = Field(default="images", description="For `export --format workshop`.")
    captions_dir: str = Field(default="captions", description="For `export --format workshop`.")
    labels_dir: str = Field(default="labels", description="For `export --format workshop`.")
    comments_dir: str = Field(default="comments", description="For `export --format workshop`.")
    metadata_dir: str = Field(default="metadata", description="For `export --format workshop`.")

    @field_validator("images_dir", "captions_dir", "labels_dir", "comments_dir", "metadata_dir")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not value or value in {".", ".."} or "/" in value or "\\" in value or "\0" in value:
            raise ValueError("must be a plain folder name, without a slash")
        return value


class PictureThresholds(Section):
    """Where QA begins to flag a picture. Luma runs from 0 to 255."""

    dark_p99: float = Field(default=80, ge=0, le=255, description="Too dark: 99 % of the picture is under this luma.")
    light_p5: float = Field(default=225, ge=0, le=255, description="Too light: 95 % of the picture is over this luma.")
    blurred_sharpness: float = Field(
        default=0.35, ge=0, le=10, description="Blurred: the strongest edges, over the contrast, are under this."
    )
    low_entropy_bits: float = Field(
        default=2.0, ge=0, le=8, description="Little information: entropy of luma is under this, of 8 bits."
    )
    aspect_tolerance: float = Field(
        default=0.06, ge=0, le=10, description="How far width / height may be from the aspect ratio asked for."
    )
    odd_size_factor: float = Field(
        default=2.0, gt=1, le=1e6, description="Odd size: side length this many times the median one, or less."
    )


class Validation(Section):
    """Quality assurance."""

    auto_validate: bool = Field(default=False, description="Run QA at the end of a run.")
    min_image_size_kb: float = Field(default=10, ge=0, le=1e6, description="Smaller files are flagged.")
    check_duplicates: bool = Field(default=True, description="Look for near-duplicate images.")
    duplicate_threshold: float = Field(
        default=95, gt=0, le=100, description="Similarity in percent from which images are duplicates."
    )
    validate_metadata: bool = Field(default=True, description="Check captions, labels and comments.")
    generate_qa_report: bool = Field(default=True, description="Write qa/report.html beside qa/report.json.")
    thresholds: PictureThresholds = Field(default_factory=PictureThresholds)


class QA(Section):
    """What the set is measured against, and how often QA may ask again."""

    targets: dict[str, dict[str, Share]] = Field(
        default={},
        description="Label mix that is wanted, per category: value and its share. Shares of a category add up to 1 at "
        "most; the rest is for values that are not named.",
    )
    max_redo: int = Field(
        default=2,
        ge=0,
        le=20,
        description="How often `run --redo qa` may ask again for one image, and for its texts, before it gives them "
        "up.",
    )

    @field_validator("targets")
    @classmethod
    def _shares(cls, value: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        plain: dict[str, dict[str, float]] = {}
        for category, mix in value.items():
            wanted = {plain_label(name): share for name, share in mix.items()}
            known = [v.lower() for v in VOCABULARY.get(category, ())]
            unknown = [name for name in wanted if known and name not in known]
            total = sum(wanted.values())
            if unknown:
                raise ValueError(f"{category} has no value {unknown[0]!r}; use {', '.join(known)}")
            if not 0 < total <= 1.001:
                raise ValueError(f"the shares of {category} add up to {total:g}; give shares that add up to 1 at most")
            plain[category] = wanted
        return plain


class Logging(Section):
    """What is told, and where."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        default="INFO", description="Least severe level shown."
    )
    log_to_file: bool = Field(default=True, description="Write events.jsonl in the run directory.")
    log_file: str | None = Field(default=None, description="A further copy of the events; null: none.")
    log_to_console: bool = Field(default=True, description="Show progress.")
    include_timestamps: bool = Field(default=True, description="Time stamps on plain console lines.")


class Budget(Section):
    """Money."""

    usd: Positive | None = Field(default=None, description="Hard cap for the whole run, over all its sessions.")


class ModelPrice(Section):
    """Prices of one model, over the built-in ones. null: as built in."""

    input_usd_per_m: Price | None = Field(default=None, description="USD per million prompt tokens.")
    text_usd_per_m: Price | None = Field(
        default=None, description="USD per million text and thinking tokens that come out."
    )
    image_usd_per_m: Price | None = Field(default=None, description="USD per million picture tokens that come out.")


class Prices(Section):
    """Prices that differ from the built-in table, or that it does not know."""

    models: dict[str, ModelPrice] = Field(default={}, description="Prices by model name.")


class RunConfig(Section):
    """A whole configuration: frozen, validated, complete."""

    generation: Generation = Field(default_factory=Generation)
    prompts: Prompts = Field(default_factory=Prompts)
    metadata: Metadata = Field(default_factory=Metadata)
    rate_limiting: RateLimiting = Field(default_factory=RateLimiting)
    budget: Budget = Field(default_factory=Budget)
    prices: Prices = Field(default_factory=Prices)
    source_data: SourceData = Field(default_factory=SourceData)
    output: Output = Field(default_factory=Output)
    validation: Validation = Field(default_factory=Validation)
    qa: QA = Field(default_factory=QA)
    logging: Logging = Field(default_factory=Logging)
    transport: Literal["fast", "sdk"] = Field(
        default="fast", description="fast: our answer path. sdk: google-genai alone."
    )

    @model_validator(mode="after")
    def _targets_are_labelled(self) -> RunConfig:
        odd = [c for c in self.qa.targets if c not in self.metadata.label_categories]
        if odd:
            raise ValueError(
                f"qa.targets names {odd[0]!r}, which is no entry of metadata.label_categories; add it there, or use "
                f"one of {', '.join(self.metadata.label_categories)}"
            )
        return self

    @model_validator(mode="after")
    def _capabilities(self) -> RunConfig:
        model = MODELS.get(self.generation.model)
        if model is not None:
            if self.generation.resolution not in model.image_tokens:
                raise ValueError(
                    f"generation.resolution is {self.generation.resolution!r}, but {model.name} draws "
                    f"{', '.join(model.image_tokens)}; choose one of these or another model"
                )
            if self.generation.aspect_ratio not in model.aspect_ratios:
                raise ValueError(
                    f"generation.aspect_ratio is {self.generation.aspect_ratio!r}, but {model.name} draws "
                    f"{', '.join(model.aspect_ratios)}; choose one of these"
                )
        return self

    def limits_for(self, model: str) -> Limits:
        """The limits of one model: its overrides over the common ones."""
        common = {name: getattr(self.rate_limiting, name) for name in Limits.model_fields}
        override = self.rate_limiting.models.get(model)
        chosen = {n: getattr(override, n) for n in override.model_fields_set} if override else {}
        return Limits(**{**common, **chosen})

    def price_table(self) -> dict[str, ModelInfo]:
        """The models we know, with the prices of this configuration over the built-in ones."""
        table = dict(MODELS)
        for name, own in self.prices.models.items():
            known = table.get(name) or ModelInfo(
                name=name, input_usd_per_m=None, text_usd_per_m=None, batch_factor=None
            )
            given = {key: value for key, value in own.model_dump().items() if value is not None}
            table[name] = msgspec.structs.replace(known, **given)
        return table
