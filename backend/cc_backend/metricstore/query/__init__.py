"""Questions and answers: the query protocol, JSON and the compact form, resampling."""
