"""Makes up clusters and jobs with known faults: for the demo, load, tests and screenshots."""
