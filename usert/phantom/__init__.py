"""A simulated scanner whose displacement is exactly known."""
