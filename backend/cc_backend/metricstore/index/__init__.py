"""Which series there are: hosts, layouts, row numbers, and moving series to another timestep."""
