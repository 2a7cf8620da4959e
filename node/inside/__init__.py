"""What runs inside Blender. Lowest first:

channel   the talk with the node
order     why frames depend on those before them
tiles     parts of a picture
outputs   where files are written, and what was left there
wishes    the scene as it is asked for
whole     videos, and pictures made of parts
loop      one frame after another
"""
