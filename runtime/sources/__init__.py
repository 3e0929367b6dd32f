"""Live sources of RF frames: a recording or the simulated scanner, and the demo of the whole path."""
