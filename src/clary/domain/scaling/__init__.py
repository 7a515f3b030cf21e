"""Scaling as pure decisions: what was seen goes in, a size and its reasons come out. The equations are those of the scaling
reference, sections 2.2 to 2.7; the same objects decide in production and in the simulator. Standard library only."""
