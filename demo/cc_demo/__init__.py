"""A made-up site: a cluster, people, and jobs with known faults. For trying out, for screenshots, for tests."""
