"""Failures for people: what happened, naming frame, computer and file, and one thing to do."""

from __future__ import annotations

# The wire's reasons -> what a person can do about it.
TO_DO = {
    "out of memory": "Make the scene lighter (smaller textures, fewer subdivisions), or ask for a computer "
    "with more memory.",
    "time-out": "Look at its last lines: does it hang, or is this frame so much heavier?",
    "missing file": "Bring the missing file back or pack it into the scene, then render again.",
    "bad output": "Look whether the disk has room, then try the frame again.",
    "crash": "Try the frame again; if it crashes on other computers too, open it in Blender and render it "
    "there.",
    "renderer error": "Read its last lines, mend the scene and render again.",
    "node gone": "Nothing: another computer does it.",
}
ELSE_DO = "Read its last lines, mend the scene and render again."
GONE = "the node was not heard of any more"


def reason_kind(reason: str) -> str:
    """The wire's reason at the head of what a journal says."""
    if reason == GONE:
        return "node gone"
    return next((kind for kind in TO_DO if reason.startswith(kind)), reason.partition(":")[0])


def happened(task: str, computer: str, file: str, reason: str, say: str = "") -> str:
    """One sentence: "Frame 7 of sh010.blend failed on render3: out of memory."."""
    what = say.rstrip(". ") or reason.rstrip(". ")
    where = f" on {computer}" if computer else ""
    return f"{task[:1].upper()}{task[1:]} of {file} failed{where}: {what}."


def to_do(reason: str, rule: str = "") -> str:
    """One thing to do. `rule`: the kind of the rule that fitted, if one did."""
    if rule in ("licence", "later"):
        return "Nothing: it is tried again by itself."
    if rule == "computer":
        return "Nothing for you: another computer does it. Somebody should look after this one."
    if rule == "fatal":
        return "Mend this in the scene, save it, and render again."
    return TO_DO.get(reason_kind(reason), ELSE_DO)
