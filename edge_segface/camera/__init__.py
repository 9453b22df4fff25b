"""Sources, the camera loop, and where results go."""
