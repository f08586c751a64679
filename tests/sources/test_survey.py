"""Demographics: the survey's files, codes or labels, weights kept, and the original's table."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from engine.core.context import People
from engine.core.sampling import golden
from engine.errors import SourceError
from engine.sources import survey
from engine.sources.codes import LABELS
from engine.sources.world import world
from schemas.config import WorldBank

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"
REAL = pytest.mark.skipif(not (DATA / "worldbank").exists(), reason="the World Bank's files are not on this machine")


def load(folder: Path, seed: int = 1, **config: Any) -> tuple[People, Any]:
    return survey.load(WorldBank(**config), folder, seed)


def weights(people: People) -> list[int]:
    totals = list(people.cumulative)
    return [totals[0], *(b - a for a, b in pairwise(totals))]


def share(people: People, column: str, value: object) -> float:
    c = people.columns[column]
    chosen = sum(w for code, w in zip(c.codes, weights(people), strict=True) if c.labels[code] == value)
    return chosen / people.cumulative[-1]


PERSONS = pl.DataFrame(
    {
        "hid": ["00a", "00a", "00a", "01b", "02c"],
        "idno": [1, 2, 3, 1, 1],
        "relation": [1, 2, 3, 1, 1],
        "sex": [1, 2, 2, 2, 1],
        "age": [40, 38, 12, 70, 20],
        "school_attend": [3, 3, 1, 3, 1],
        "educ_attain": [3, 4, 1, 0, 3],
        "act_status": [1, 1, 0, 3, 3],
        "occupation": [6, 2, 0, 0, 0],
        "industry": [1, 12, 0, 0, 0],
        "religion": [6, 6, 6, 1, 2],
        "hhweight": [100.0, 100.0, 100.0, 300.0, 500.0],
    }
)
HOMES = pl.DataFrame(
    {
        "hid": ["00a", "01b", "02c"],
        "geo1": [3, 1, 10],
        "urbrur": [1, 2, 2],
        "hhsize": [3, 1, 1],
        "quint_nat": [1, 3, 5],
        "hhweight": [100.0, 300.0, 500.0],
    }
)


def write(folder: Path, suffix: str = ".csv", persons: pl.DataFrame = PERSONS, homes: pl.DataFrame = HOMES) -> None:
    folder.mkdir(exist_ok=True)
    for name, frame in (("IND", persons), ("HLD", homes)):
        if suffix == ".csv":
            frame.write_csv(folder / f"SVY-{name}.csv")
        else:
            frame.write_parquet(folder / f"SVY-{name}.parquet")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_persons_and_households_are_joined_and_put_into_words(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / "wb", suffix)
    people, origin = load(tmp_path, path="wb")
    assert origin.kind.startswith("World Bank survey")
    everybody = {people.person(k).age: people.person(k) for k in range(len(people))}
    assert set(everybody) == {40, 38, 70, 20}, "adults only"
    farmer, teacher, widow, student = (everybody[a] for a in (40, 38, 70, 20))
    assert (farmer.gender, farmer.work, farmer.setting, farmer.household_size) == ("male", "farmer", "rural", 3)
    assert farmer.household_composition == "head"
    assert farmer.province == world().provinces[2].name
    assert (teacher.work, teacher.education_level) == ("teacher", "university")
    assert (widow.occupation, widow.household_composition, widow.age_group) == ("retired", "single person", "65+")
    assert student.work == "student"
    assert "religion" not in people.columns
    assert share(people, "age", 20) == pytest.approx(0.5, abs=1e-6)


def test_children_come_in_only_when_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "wb")
    people, _ = load(tmp_path, path="wb", adults_only=False)
    assert 12 in {people.person(k).age for k in range(len(people))}


def test_labels_cut_short_and_in_any_case_are_understood(tmp_path: Path) -> None:
    def labelled(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(
            pl.col(c).replace_strict({k: v[:38].title() for k, v in LABELS[c].items()}, return_dtype=pl.String)
            for c in frame.columns
            if c in LABELS
        )

    write(tmp_path / "codes")
    write(tmp_path / "labels", persons=labelled(PERSONS), homes=labelled(HOMES))
    by_code, _ = load(tmp_path, path="codes")
    by_label, origin = load(tmp_path, path="labels")
    assert by_code == by_label
    assert origin.warnings == ()


def test_values_that_are_neither_code_nor_label_are_warned_of(tmp_path: Path) -> None:
    odd = PERSONS.with_columns(pl.col("sex").cast(pl.String).replace({"1": "masculino"}))
    write(tmp_path / "wb", persons=odd)
    people, origin = load(tmp_path, path="wb")
    assert any("masculino" in warning for warning in origin.warnings)
    assert None in {people.person(k).gender for k in range(len(people))}


def test_a_zip_is_read_from_inside_and_never_unpacked_outside(tmp_path: Path) -> None:
    write(tmp_path / "wb")
    with zipfile.ZipFile(tmp_path / "wb.zip", "w") as archive:
        archive.write(tmp_path / "wb" / "SVY-IND.csv", "../../../evil/SVY-IND.csv")
        archive.write(tmp_path / "wb" / "SVY-HLD.csv", "/abs/SVY-HLD.csv")
        archive.writestr("readme.pdf", "x")
    before = set(tmp_path.rglob("*"))
    people, _ = load(tmp_path, path="wb.zip")
    assert len(people) == 4
    assert set(tmp_path.rglob("*")) == before
    assert not (tmp_path.parent / "evil").exists()


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("SVY-IND.csv", b"0" * 30_000_000)
    with pytest.raises(SourceError, match="would unpack to 30,000,000 bytes"):
        load(tmp_path, path="b.zip")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p, h: (p.rename({"hid": "household"}), h), "no file of persons"),
        (lambda p, h: (p, h.with_columns(hid=pl.Series(["x", "y", "z"]))), "two different surveys"),
        (lambda p, h: (p, pl.concat([h, h])), "names a hid twice"),
        (lambda p, h: (p.rename({"hhweight": "pond_men"}), h), "French edition"),
        (lambda p, h: (p.with_columns(age=pl.lit(5)), h), "no person is left"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, change: Any, words: str) -> None:
    persons, homes = change(PERSONS, HOMES)
    write(tmp_path / "wb", persons=persons, homes=homes)
    with pytest.raises(SourceError, match=words):
        load(tmp_path, path="wb")


def test_two_surveys_in_one_folder_are_not_mixed(tmp_path: Path) -> None:
    write(tmp_path / "wb")
    PERSONS.write_csv(tmp_path / "wb" / "CEN-IND.csv")
    with pytest.raises(SourceError, match="point at one survey"):
        load(tmp_path, path="wb")


def test_missing_weights_count_everybody_the_same_with_a_warning(tmp_path: Path) -> None:
    write(tmp_path / "wb", persons=PERSONS.drop("hhweight"), homes=HOMES.drop("hhweight"))
    people, origin = load(tmp_path, path="wb")
    assert len(set(weights(people))) == 1
    assert any("no weight column" in warning for warning in origin.warnings)


def test_persons_without_a_sound_weight_are_left_out_with_a_warning(tmp_path: Path) -> None:
    bad = PERSONS.with_columns(hhweight=pl.Series([100.0, None, 1.0, float("nan"), -3.0]))
    write(tmp_path / "wb", persons=bad)
    people, origin = load(tmp_path, path="wb")
    assert len(people) == 1
    assert any("3 persons without a weight" in warning for warning in origin.warnings)


def test_num_profiles_draws_that_many_through_the_weights(tmp_path: Path) -> None:
    people, origin = load(tmp_path, num_profiles=400)
    everyone, _ = load(tmp_path)
    assert len(people) == origin.items == 400
    assert len(set(weights(people))) == 1, "weights are used up by the draw"
    for gender in ("female", "male"):
        assert share(people, "gender", gender) == pytest.approx(share(everyone, "gender", gender), abs=0.02)
    again, _ = load(tmp_path, num_profiles=400)
    assert again == people
    other, _ = load(tmp_path, num_profiles=400, seed=2)
    assert other != people


def test_unknown_categories_are_warned_of_with_the_nearest(tmp_path: Path) -> None:
    _, origin = load(tmp_path, demographic_categories=("genders", "age_group"))
    assert "'genders'" in origin.warnings[0]
    assert "gender" in origin.warnings[0].split("nearest")[1]


def test_the_bundled_sample_is_generated_from_the_published_shares(tmp_path: Path) -> None:
    people, origin = load(tmp_path)
    assert len(people) == 2000
    assert origin.path == "bundled"
    assert "10.48529/MC1F-QH23" in origin.licence
    assert share(people, "gender", "female") == pytest.approx(0.509, abs=0.03)
    assert share(people, "setting", "urban") == pytest.approx(0.543, abs=0.03)
    assert share(people, "age_group", "18-24") == pytest.approx(0.206, abs=0.03)
    assert share(people, "education_level", "university") == pytest.approx(0.047, abs=0.02)
    assert share(people, "work", "farmer") == pytest.approx(0.19, abs=0.05)
    names = {province.name for province in world().provinces}
    assert set(people.columns["province"].labels) - {None} == names


PROFILES = """\
profile_id,age_group,occupation,education_level,setting,household_size
wb_001,35-44,service,undergraduate,urban,2
wb_002,25-34,baker,secondary,suburban,1
"""


def test_the_originals_table_of_profiles_is_read(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(PROFILES)
    people, origin = load(tmp_path, path="p.csv")
    first, second = people.person(0), people.person(1)
    assert (first.profile_id, first.age_group, first.work, first.household_size) == ("wb_001", "35-44", "service", 2)
    assert (second.occupation, second.work) == ("baker", None)
    assert second.gender is None
    assert "no weights" in origin.warnings[0]


@pytest.mark.skipif(not (DATA / "workshop").exists(), reason="the original's files are not on this machine")
def test_the_originals_own_profiles_load(tmp_path: Path) -> None:
    people, _ = load(tmp_path, path=str((DATA / "workshop" / "worldbank_demographics.csv").resolve()))
    assert len(people) == 50
    assert Counter(people.person(k).setting for k in range(50)) == {"suburban": 18, "urban": 17, "rural": 15}


@REAL
def test_the_real_survey_gives_the_published_adult_shares(tmp_path: Path) -> None:
    people, origin = load(tmp_path, path=str((DATA / "worldbank").resolve()))
    assert origin.warnings == ()
    assert len(people) == 20_342
    published = [
        ("gender", "female", 0.509),
        ("setting", "urban", 0.543),
        ("age_group", "18-24", 0.206),
        ("age_group", "25-34", 0.240),
        ("age_group", "35-44", 0.204),
        ("age_group", "45-54", 0.157),
        ("age_group", "55-64", 0.100),
        ("age_group", "65+", 0.093),
    ]
    for column, value, expected in published:
        assert share(people, column, value) == pytest.approx(expected, abs=0.001), (column, value)


@REAL
def test_even_draws_from_the_real_survey_are_four_times_closer_than_lots(tmp_path: Path) -> None:
    people, _ = load(tmp_path, path=str((DATA / "worldbank").resolve()))
    cells = list(
        zip(
            people.columns["setting"].codes,
            people.columns["gender"].codes,
            people.columns["age_group"].codes,
            people.columns["education_level"].codes,
            strict=True,
        )
    )
    true: Counter[Any] = Counter()
    for cell, weight in zip(cells, weights(people), strict=True):
        true[cell] += weight / people.cumulative[-1]

    def distance(points: list[int]) -> float:
        drawn = Counter(cells[people.locate(p)] for p in points)
        return sum(abs(drawn[c] / len(points) - w) for c, w in true.items()) / 2

    lots = [int(x) for x in np.random.default_rng(1).integers(0, 2**64, 10_000, dtype=np.uint64)]
    even = distance([golden(i, 20260121, "people") for i in range(10_000)])
    assert even < 0.015
    assert even * 2.5 < distance(lots)


@REAL
def test_the_real_files_give_the_same_people_from_a_zip_a_table_and_parquet(tmp_path: Path) -> None:
    import pyreadstat

    real = sorted((DATA / "worldbank").resolve().glob("*.dta"))
    with zipfile.ZipFile(tmp_path / "wb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in real:
            archive.write(file, f"inner/{file.name}")
    (tmp_path / "tables").mkdir()
    (tmp_path / "columns").mkdir()
    for file in real:
        frame: Any = pyreadstat.read_dta(str(file), output_format="polars")[0]
        frame.write_csv(tmp_path / "tables" / f"{file.stem}.csv")
        frame.write_parquet(tmp_path / "columns" / f"{file.stem}.parquet")
    expected, _ = load(tmp_path, path=str((DATA / "worldbank").resolve()))
    for name in ("wb.zip", "tables", "columns"):
        people, _ = load(tmp_path, path=name)
        assert people == expected, name


@REAL
def test_persons_alone_are_enough_with_a_warning(tmp_path: Path) -> None:
    (alone,) = (DATA / "worldbank").resolve().glob("*IND*.dta")
    people, origin = load(tmp_path, path=str(alone))
    assert len(people) == 20_342
    assert any("no household file" in warning for warning in origin.warnings)
    assert people.person(0).setting is None
    assert share(people, "gender", "female") == pytest.approx(0.509, abs=0.001)


def test_broken_tables_end_in_a_message(tmp_path: Path) -> None:
    (tmp_path / "a.dta").write_bytes(b"<stata_dta> not really")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 nor this")
    (tmp_path / "c.zip").write_bytes(b"PK nothing")
    (tmp_path / "d.csv").write_text("age,colour\n1,red\n")
    (tmp_path / "empty").mkdir()
    for name in ("a.dta", "b.parquet", "c.zip", "d.csv", "empty"):
        with pytest.raises(SourceError, match=name):
            load(tmp_path, path=name)


MARGINS = DATA / ".." / "facts" / "wb_margins.json"


@pytest.mark.skipif(not MARGINS.exists(), reason="the published shares are not on this machine")
def test_the_bundled_sample_is_what_its_script_makes(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    made = tmp_path / "made.parquet"
    script = root / "scripts" / "build_demographics.py"
    subprocess.run([sys.executable, str(script), str(MARGINS.resolve()), str(made)], check=True, capture_output=True)
    kept = pl.read_parquet(root / "engine" / "data" / "demographics.parquet")
    assert pl.read_parquet(made).equals(kept)
    assert kept.height == 2000
    assert "religion" not in kept.columns
