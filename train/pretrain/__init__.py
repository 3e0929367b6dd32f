"""Supervised pre-training on generated pairs."""
