"""Measuring speed, and stating with every number what it was measured on."""
