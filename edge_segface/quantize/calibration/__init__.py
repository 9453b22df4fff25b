"""Calibration sets: the images on which int8 quantization measures value ranges. Needs no torch."""
