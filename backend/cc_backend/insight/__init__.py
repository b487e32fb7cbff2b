"""How a job ran: curves, footprint, findings and the verdict. Pure: no web framework, no database, no clock."""

__all__ = (
    "assessment",
    "checks",
    "configured_units",
    "curve_maths",
    "finding_json",
    "findings",
    "footprint",
    "job_curves",
    "metric_explanation",
    "rating",
    "sentences",
    "threshold_share",
)
