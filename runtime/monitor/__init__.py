"""What others may know of a live server that runs: metrics and health, by HTTP."""
