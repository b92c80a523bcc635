"""Many acquisitions: a BIDS dataset or a table in, derivatives and one page out, resumable."""

from mrs_necrosis.cohort.batch import (
    CohortResult,
    analyze_dataset,
    analyze_file,
    analyze_table,
)
from mrs_necrosis.cohort.dask_cluster import ClusterError, DaskExecutor, cluster
from mrs_necrosis.cohort.unit import Outcome

__all__ = [
    "ClusterError",
    "CohortResult",
    "DaskExecutor",
    "Outcome",
    "analyze_dataset",
    "analyze_file",
    "analyze_table",
    "cluster",
]
