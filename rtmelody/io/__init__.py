"""The edges, one vendor a file."""
