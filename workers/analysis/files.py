"""Names of the files that a step finds and leaves in its folder, and of the objects that they become."""

SOURCE = "source"
DATASET = "dataset.parquet"
EXPLORATION = "exploration.json"
CLUSTERING = "clustering.json"
LABELS = "labels.parquet"
REPORT = "report.html"
