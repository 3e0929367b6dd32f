"""The sub-commands of `usert`, one file each."""
