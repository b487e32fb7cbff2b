"""How a job ran: curves, footprint, findings and the verdict. Pure: no web framework, no database, no clock."""
