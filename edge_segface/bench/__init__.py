"""Measuring: stopwatches and, next to every number, what it was measured on."""
