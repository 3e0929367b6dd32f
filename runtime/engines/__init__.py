"""Engines that run a bundle, one library a module."""
