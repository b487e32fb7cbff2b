"""The REST API: parse, call, answer; no logic of its own."""
