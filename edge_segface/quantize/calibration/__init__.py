"""Calibration sets: the pictures that tell a quantizer what numbers flow. No torch: a device can collect them."""
