"""Which clusters of duplicates the report shows large, which small, and how their members were recognised."""

from __future__ import annotations

import polars as pl
from msgspec import Struct

from engine.qa.report import Findings

LARGE_MAX, MEMBERS_MAX = 16, 5
LARGEST_SHOWN, PER_KIND_MAX = 5, 4
PAGE_CLUSTERS_MAX = 5_000
"""Small ones on one page, some 5 MB; further ones are on pages of their own."""
FIRST_PAGE = "report.html"


class Shown(Struct, frozen=True):
    """Clusters as they are shown. A row is an image: cluster, size, image_id, keep, path, sha256, and how it was
    recognised: kind, edit, similarity_percent."""

    large: pl.DataFrame
    """Some clusters, with as many members as are shown large."""
    pages: list[pl.DataFrame]
    """All others, two members of each: those on the report itself, then those of each further page."""

    @property
    def small(self) -> int:
        """How many clusters the small ones are."""
        return sum(page.height // 2 for page in self.pages)


def page_name(number: int) -> str:
    """The file of a page, counted from 0."""
    return f"clusters-{number + 1}.html" if number else FIRST_PAGE


def choose(f: Findings) -> Shown:
    """All clusters, members in order: the kept one first, then the first copies."""
    if f.duplicates is None or not f.duplicates.clusters.height:
        return Shown(large=pl.DataFrame(schema={"cluster": pl.UInt32(), "path": pl.String()}), pages=[])
    place = pl.int_range(pl.len()).over("cluster")
    clusters = f.duplicates.clusters.with_columns(size=pl.len().over("cluster"), place=place)
    pairs = f.duplicates.pairs
    small = _told(clusters.filter(pl.col("place") < 2), f.images, pairs)
    is_large = pl.col("cluster").is_in(_chosen(small.filter(~pl.col("keep"))))
    large = _told(clusters.filter(is_large & (pl.col("place") < MEMBERS_MAX)), f.images, pairs)
    return Shown(large=large, pages=list(small.filter(~is_large).iter_slices(2 * PAGE_CLUSTERS_MAX)))


def _chosen(first_copies: pl.DataFrame) -> list[int]:
    """The largest clusters, then some of each kind of pair: edited copies tell more than the hundredth same file."""
    some = first_copies.group_by("kind", "edit", maintain_order=True).head(PER_KIND_MAX)["cluster"].to_list()
    return list(dict.fromkeys([*range(1, LARGEST_SHOWN + 1), *some]))[:LARGE_MAX]


def _told(members: pl.DataFrame, images: pl.LazyFrame, pairs: pl.LazyFrame) -> pl.DataFrame:
    """Members with their files, and how each was recognised."""
    whole = pl.when(pl.col("integrity").list.len() == 0).then("sha256").alias("sha256")
    files = images.select("image_id", "path", whole).join(members.lazy(), on="image_id", how="semi")
    return members.join(files.collect(engine="streaming"), on="image_id", how="left", maintain_order="left").join(
        _recognised(members, pairs), on="image_id", how="left", maintain_order="left"
    )


def _recognised(members: pl.DataFrame, pairs: pl.LazyFrame) -> pl.DataFrame:
    """How each copy was recognised: its pair with the kept one, or its nearest."""
    copies = members.filter(~pl.col("keep")).select("image_id", "cluster")
    kept = members.filter("keep").select("cluster", kept="image_id")
    how = ("kind", "edit", "distance", "similarity_percent")
    wanted = copies.lazy().select("image_id")
    both = pl.concat(
        [
            pairs.join(wanted, left_on=mine, right_on="image_id", how="semi").select(
                pl.col(mine).alias("image_id"), pl.col(other).alias("other"), *how
            )
            for mine, other in (("image_a", "image_b"), ("image_b", "image_a"))
        ]
    ).collect(engine="streaming")
    return (
        both.join(copies.join(kept, on="cluster"), on="image_id")
        .sort(pl.col("other") != pl.col("kept"), "distance", "other")
        .unique("image_id", keep="first")
        .select("image_id", "kind", "edit", "similarity_percent")
    )
