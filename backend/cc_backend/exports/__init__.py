"""Jobs and tables as files: one job as JSON, CSV or Parquet, and lists of jobs as CSV or JSON."""

__all__ = (
    "csv_text",
    "job_document",
    "job_series",
    "job_table",
    "long_form",
    "parquet_file",
)
