"""The samples of a job, from the store or archive that has them, why some are missing, and the job's judgement."""
