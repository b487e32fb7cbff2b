"""What fault tests and the reliability benchmark share: real processes, numbered samples and jobs, and the count."""
