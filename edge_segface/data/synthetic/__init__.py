"""Synthetic images with exact labels: drawn faces, composed scenes, backdrops and pasted parts."""
