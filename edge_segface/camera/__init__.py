"""The camera loop: sources, tracking of faces, the loop itself, stabilising, and where results are shown."""
