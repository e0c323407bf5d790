"""What an exploration has found, as it lies in S3."""

from __future__ import annotations

from pydantic import Field

from schemas.request import Model


class Numbers(Model):
    mean: float
    std: float
    minimum: float
    q1: float
    median: float
    q3: float
    maximum: float
    skew: float
    outliers: int
    """Beyond 1.5 interquartile ranges from the quartiles (Tukey, Exploratory Data Analysis, 1977)."""
    edges: list[float]
    """Of the histogram's bins, which leave out what lies beyond 3 interquartile ranges."""
    counts: list[int]
    left_out: int


class Level(Model):
    value: str
    count: int


class Levels(Model):
    distinct: int
    most: list[Level]
    """The most frequent, in order."""


class Times(Model):
    first: str
    last: str
    period: str
    """`hour`, `day`, `week`, `month`, `quarter` or `year`: what the counts are by."""
    starts: list[str]
    counts: list[int]
    without: int
    """Periods between first and last in which nothing was."""


class Words(Model):
    mean_length: float
    max_length: int
    distinct: int
    most: list[Level]


class ColumnProfile(Model):
    name: str
    kind: str
    dtype: str
    missing: int
    numbers: Numbers | None = None
    levels: Levels | None = None
    times: Times | None = None
    words: Words | None = None


class Pair(Model):
    one: str
    other: str
    r: float


class Correlations(Model):
    columns: list[str]
    matrix: list[list[float | None]]
    """Pearson's r; None where one of the two does not vary."""
    strongest: list[Pair]
    rows: int
    """How many rows they were computed from."""


class Trial(Model):
    clusters: int
    silhouette: float


class Profile(Model):
    rows: int
    missing: int
    incomplete_rows: int
    columns: list[ColumnProfile]
    correlations: Correlations | None = None
    trials: list[Trial] = Field(default_factory=list)
    """Numbers of groups that were tried on a sample, and their silhouettes (Rousseeuw 1987)."""
    suggested_clusters: int | None = None
    headlines: list[str] = Field(default_factory=list)
    """What stands out, in sentences."""
    grouping: str = ""
    """Whether there are groups, in a sentence."""


class ClusterProfile(Model):
    number: int
    rows: int
    means: list[float]
    """In the order of `Groups.numbers`, in the columns' own units."""
    deviations: list[float]
    """From the mean of all rows, in standard deviations of all rows."""
    typical: list[Level] = Field(default_factory=list)
    """The most frequent level of each category; `count` is its percentage in the group."""
    words: str


class Groups(Model):
    method: str
    silhouette: float
    clusters: int
    noise: int = 0
    numbers: list[str]
    categories: list[str]
    profiles: list[ClusterProfile]
    points: list[tuple[float, float, int]] = Field(description="A sample on two principal components, and each one's group; -1 is none")
    explained: tuple[float, float]
    """Share of the variance on each of the two."""
