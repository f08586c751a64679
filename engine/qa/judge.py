"""From measurements to flags: thresholds applied to all pictures at once, without looking again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl
from msgspec import Struct


class Thresholds(Struct, frozen=True, kw_only=True):
    """Where a picture begins to be flagged. Luma runs from 0 to 255, over the picture reduced to about 256 px."""

    blank_std: float = 0.8
    """Standard deviation of luma, for blank pictures."""
    blank_chroma: float = 1.5
    """A blank picture has one colour as well as one tone."""
    near_blank_std: float = 2.0
    dark_p99: float = 80.0
    light_p5: float = 225.0
    blurred_sharpness: float = 0.35
    low_entropy_bits: float = 2.0
    grey_chroma: float = 1.5
    aspect_tolerance: float = 0.06
    """How far width / height may be from the aspect ratio asked for."""
    aspect_extreme: float = 0.35
    """Shorter over longer side, where none was asked for."""
    odd_size_factor: float = 2.0
    """Side length against the median one."""
    tiny_px: int = 100
    min_file_bytes: float = 10 * 1024
    prompt_chars_min: int = 20
    prompt_chars_max: int = 8_000


_RATIO = pl.col("width_found") / pl.col("height_found")


def _asked_ratio() -> pl.Expr:
    parts = pl.col("aspect_ratio").str.split(":")
    return parts.list.get(0, null_on_oob=True).cast(pl.Float64, strict=False) / parts.list.get(
        1, null_on_oob=True
    ).cast(pl.Float64, strict=False)


def _side() -> pl.Expr:
    return (pl.col("width_found").cast(pl.Float64) * pl.col("height_found")).sqrt()


def usual_side(sizes: pl.DataFrame) -> float | None:
    """The median side length in pixels, of `width_found` and `height_found` of all pictures."""
    return sizes.select(_side().median()).item()


def flag_pictures(found: pl.DataFrame, limits: Thresholds, usual_px: float | None) -> pl.DataFrame:
    """What `engine.qa.scan` found, with the column `flags`: names of `engine.qa.model.FLAGS`, integrity first.

    The pictures may be some of all, whose `usual_side` is `usual_px`.
    """
    decoded = pl.col("luma_std").is_not_null()
    blank = decoded & (pl.col("luma_std") < limits.near_blank_std) & (pl.col("entropy_bits") < limits.low_entropy_bits)
    blank &= (pl.col("luma_std") < limits.blank_std) | (pl.col("sharpness") < 2.0)
    side, usual = _side(), pl.lit(usual_px, pl.Float64)
    extreme = pl.min_horizontal("width_found", "height_found") / pl.max_horizontal("width_found", "height_found")
    asked = _asked_ratio()
    odd_aspect = (
        pl.when(asked.is_not_null())
        .then((_RATIO / asked - 1).abs() > limits.aspect_tolerance)
        .otherwise(extreme < limits.aspect_extreme)
    )
    clear = decoded & ~blank
    tests: dict[str, pl.Expr] = {
        "blank": blank,
        "dark": clear & (pl.col("luma_p99") < limits.dark_p99),
        "light": clear & (pl.col("luma_p5") > limits.light_p5),
        "blurred": clear & (pl.col("sharpness") < limits.blurred_sharpness),
        "low_information": clear & (pl.col("entropy_bits") < limits.low_entropy_bits),
        "grey": clear & (pl.col("chroma_std") < limits.grey_chroma),
        "aspect": odd_aspect,
        "odd_size": (side > usual * limits.odd_size_factor) | (side < usual / limits.odd_size_factor),
        "tiny": pl.min_horizontal("width_found", "height_found") < limits.tiny_px,
        "prompt_short": pl.col("prompt_chars") < limits.prompt_chars_min,
        "prompt_long": pl.col("prompt_chars") > limits.prompt_chars_max,
        "small_file": pl.col("file_bytes").is_between(1, limits.min_file_bytes, closed="left"),
    }
    names = [pl.when(test.fill_null(False)).then(pl.lit(name)) for name, test in tests.items()]
    return found.with_columns(
        flags=pl.concat_list(pl.col("integrity").fill_null([]), *names).list.drop_nulls(),
    )


def with_flag(name: str, hit: pl.Expr) -> pl.Expr:
    """The column `flags`, this one added where `hit` says."""
    flags = pl.col("flags")
    return pl.when(hit).then(pl.concat_list(flags, pl.lit(name))).otherwise(flags).alias("flags")


def one_of(image_ids: Iterable[str] | pl.Series) -> pl.Expr:
    """Whether a row is of one of these images."""
    ids = image_ids if isinstance(image_ids, pl.Series) else pl.Series([*image_ids], dtype=pl.String)
    return pl.col("image_id").is_in(ids.implode())


def flag_counts(flags: pl.LazyFrame) -> dict[str, int]:
    """Rows by flag, most frequent first."""
    counts = flags.select(pl.col("flags").explode()).drop_nulls().group_by("flags").len().collect(engine="streaming")
    rows: list[tuple[Any, ...]] = sorted(counts.rows(), key=lambda r: (-r[1], r[0]))
    return {str(name): int(count) for name, count in rows}
