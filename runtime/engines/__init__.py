"""Engines that make an estimate of a pair of frames, one library a module; importing this loads none of them."""

from .registry import BEST, ENGINES, REFERENCE, open_classical, open_engine

__all__ = ["BEST", "ENGINES", "REFERENCE", "open_classical", "open_engine"]
