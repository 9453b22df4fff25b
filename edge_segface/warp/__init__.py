"""RoI tanh warping, which the LaPa variant of SegFace sees faces through: the face large, the rest squeezed to the rim.

`grids` holds the geometry, `running` applies it with OpenCV, `training` with torch.
"""
