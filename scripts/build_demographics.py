"""Writes engine/data/demographics.parquet: 2,000 generated adults in the columns of the World Bank survey.

    python scripts/build_demographics.py wb_margins.json [engine/data/demographics.parquet]

No row of the survey is copied. A chain of published weighted shares makes people up, step by step:
residence, area, household size, expenditure quintile, age and sex, marital status, education,
activity, occupation, industry. Religion is left out. The same input always gives the same file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl

ROWS = 2000
SEED = 5906
AGES = {
    "18-24": (18, 24),
    "25-34": (25, 34),
    "35-44": (35, 44),
    "45-54": (45, 54),
    "55-64": (55, 64),
    "65-74": (65, 74),
    "75+": (75, 90),
}


def main(margins_path: str, out: str = "engine/data/demographics.parquet") -> None:
    margins = json.loads(Path(margins_path).read_text(encoding="utf-8"))
    rng = np.random.default_rng(SEED)
    adult, hh = margins["adult18"], margins["hh"]

    def draw(table: dict[str, float]) -> str:
        shares = np.array(list(table.values()))
        return list(table)[int(rng.choice(len(shares), p=shares / shares.sum()))]

    rows = []
    for n in range(ROWS):
        urban = draw(adult["urbrur"])
        size = int(draw({k: v * int(k) for k, v in hh["hhsize"].items()}))  # persons, not households
        sex = draw(adult["sex"])
        band = draw(adult["age_band_by_urbrur_sex"][f"{urban}|{sex}"])
        low, high = AGES[band]
        marital = draw(adult["marstat_by_age"][band])
        activity = draw(adult["act_by_sex_age"][f"{sex}|{band}"])
        employed = activity == "1"
        occupation = (
            draw({k: v for k, v in adult["occ_by_urbrur_sex"][f"{urban}|{sex}"].items() if k != "0"})
            if employed
            else "0"
        )
        industry = (
            draw({k: v for k, v in adult["industry_by_occ"][occupation].items() if k != "0"}) if employed else "0"
        )
        in_school = band == "18-24" and not employed and rng.random() < 0.6
        rows.append(
            {
                "hid": f"g{n:010x}",
                "idno": 1,
                "geo1": int(draw(hh["geo1_by_urbrur"][urban])),
                "urbrur": int(urban),
                "hhsize": size,
                "quint_nat": int(draw(hh["quint_by_urbrur"][urban])),
                "relation": 1 if size == 1 else _relation(rng, sex, band, marital),
                "sex": int(sex),
                "age": int(rng.integers(low, high + 1)),
                "marstat": int(marital),
                "school_attend": 1 if in_school else 3,
                "educ_attain": int(draw(adult["educ_by_urbrur_age"][f"{urban}|{band}"])),
                "act_status": int(activity),
                "occupation": int(occupation),
                "industry": int(industry),
                "hhweight": round(float(rng.gamma(6.0, 52.0)) + 20.0, 3),
            }
        )  # fmt: skip
    frame = pl.DataFrame(rows).with_columns(pl.exclude("hid", "hhweight").cast(pl.UInt8))
    frame.write_parquet(out, compression="zstd", compression_level=19, statistics=False)
    print(f"{out}: {frame.height} rows, {Path(out).stat().st_size} bytes")


def _relation(rng: np.random.Generator, sex: str, band: str, marital: str) -> int:
    """Head, spouse, child, other relative or not related: shares chosen to agree with the overall ones."""
    if marital == "2":
        return int(rng.choice([1, 2, 3, 4], p=[0.75, 0.05, 0.13, 0.07] if sex == "1" else [0.1, 0.74, 0.08, 0.08]))
    if band in ("18-24", "25-34"):
        return int(rng.choice([1, 3, 4, 5], p=[0.08, 0.75, 0.14, 0.03]))
    return int(rng.choice([1, 3, 4, 5], p=[0.6, 0.14, 0.23, 0.03]))


if __name__ == "__main__":
    main(*sys.argv[1:])
