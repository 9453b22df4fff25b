"""RoI tanh warping, used by the LaPa variant of SegFace: it enlarges the face and compresses its surroundings.

`grids` holds the geometry, `running` applies it with OpenCV, `training` with PyTorch.
"""
