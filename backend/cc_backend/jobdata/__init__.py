"""The samples of a job, from the store or archive that has them, why some are missing, and the job's judgement."""

__all__ = (
    "bounded_read",
    "external_store",
    "gaps",
    "job_slots",
    "job_tagger",
    "judge",
    "samples",
    "store_router",
    "store_tables",
)
