"""The live server: frames in, the newest pair through the engine, strain images out; and its control channel."""
