"""What the analysis activities take and give. New fields get defaults: runs in flight hold the old ones."""

from uuid import UUID

from pydantic import AwareDatetime, Field

from schemas.analysis import AnalysisType, FileType, Finding
from schemas.request import Generation, Model


class LoadDataset(Model):
    event_id: UUID
    user_id: str
    file_path: str
    file_type: FileType
    generation: Generation = 1


class Column(Model):
    name: str
    dtype: str
    """`int64`, `float64`, `bool`, `str`, `datetime64[...]`."""


class Dataset(Model):
    """A data set as Parquet in the bucket: its rows never travel through Temporal."""

    event_id: UUID
    key: str
    size_bytes: int
    sha256: str
    rows: int
    columns: list[Column]
    findings: list[Finding] = Field(default_factory=list)
    """What reading it has shown."""
    generation: Generation = 1


class ValidateDataset(Model):
    dataset: Dataset
    analysis_type: AnalysisType


class Validation(Model):
    valid: bool
    errors: list[Finding] = Field(default_factory=list)
    warnings: list[Finding] = Field(default_factory=list)


class Exploration(Model):
    """What was found; all of it lies under `key` as JSON, this is what the next steps need."""

    key: str
    summary: str
    suggested_clusters: int | None
    findings: list[Finding] = Field(default_factory=list)


class ClusterDataset(Model):
    dataset: Dataset
    n_clusters: int


class Clustering(Model):
    """The groups; all of it lies under `key` as JSON, each row's group under `labels_key` as Parquet."""

    key: str
    labels_key: str
    clusters: int
    method: str
    summary: str
    findings: list[Finding] = Field(default_factory=list)


class Draw(Model):
    event_id: UUID
    exploration_key: str
    clustering_key: str | None = None
    generation: Generation = 1


class Visualization(Model):
    name: str
    title: str
    key: str
    url: str


class Visualizations(Model):
    pictures: list[Visualization]

    @property
    def urls(self) -> list[str]:
        return [picture.url for picture in self.pictures]


class SaveAnalysis(Model):
    event_id: UUID
    user_id: str
    file_path: str
    file_type: FileType
    analysis_type: AnalysisType
    requested_at: AwareDatetime
    dataset: Dataset
    findings: list[Finding]
    exploration: Exploration
    clustering: Clustering | None
    visualizations: Visualizations
    generation: Generation = 1


class SavedAnalysis(Model):
    analysis_id: UUID
    summary: str
    key: str
    """Of the report."""
    url: str
    size_bytes: int
    sha256: str
