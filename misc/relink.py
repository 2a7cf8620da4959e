"""Names a scene's files anew, and relative to it:

    blender -b sh010.blend --python misc/relink.py -- OLD NEW [OLD NEW …]

OLD is a path as it stands in the scene, or where it leads on this machine; NEW where the file lies. Folders
will do for both. The scene is saved over itself (Blender keeps sh010.blend1), unless nothing fitted.
"""

import os
import sys

import bpy


def renamed(path, pairs):
    """The new path, or nothing."""
    if not path:
        return None
    plain = path.replace("\\", "/")
    whole = os.path.normpath(bpy.path.abspath(plain) if plain.startswith("//") else plain)
    for old, new in pairs:
        old = old.replace("\\", "/").rstrip("/")
        for known in (plain, whole):
            if known == old:
                return new
            if known.startswith(old + "/"):
                return new.rstrip("/") + known[len(old) :]
    return None


def relink(owner, name, pairs):
    """Whether this property was one of the old paths, and is the new one now."""
    new = renamed(getattr(owner, name, ""), pairs)
    if new is None:
        return False
    setattr(owner, name, bpy.path.relpath(new) if os.path.isabs(new) else new)
    print(f"{bpy.path.basename(bpy.data.filepath)}: {getattr(owner, name)}")
    return True


def main():
    words = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    pairs = list(zip(words[::2], words[1::2], strict=False))
    if not pairs or len(words) % 2 or not bpy.data.filepath:
        sys.exit(__doc__)
    data = bpy.data
    count = 0
    for kind in ("libraries", "images", "sounds", "movieclips", "fonts", "volumes", "cache_files"):
        for block in getattr(data, kind, ()):
            if getattr(block, "library", None) is None:  # what a library names is mended there
                count += relink(block, "filepath", pairs)
    for scene in data.scenes:
        strips = scene.sequence_editor.sequences_all if scene.sequence_editor else ()
        for strip in strips:
            count += relink(strip, "filepath", pairs) + relink(strip, "directory", pairs)
    if count:
        bpy.ops.wm.save_mainfile()
    print(f"{count} paths are new.")


main()
