"""The record of a live server: written while it runs, read, and re-run."""
