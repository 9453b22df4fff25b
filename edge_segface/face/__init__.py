"""Parsing, finding and tracking faces with one network."""
