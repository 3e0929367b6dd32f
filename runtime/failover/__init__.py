"""A second server process that has all loaded and takes over when the first one dies."""
