"""A supervisor with a spare server process, which has everything loaded and takes over when the first one dies."""
