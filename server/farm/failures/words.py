"""Failures for people: what happened, naming frame, computer and file, and one thing to do."""

from __future__ import annotations

from server.disk.speech import say

# The wire's reasons -> what a person can do about it.
TO_DO = {
    "out of memory": say(
        "Make the scene lighter (smaller textures, fewer subdivisions), or ask for a "
        "computer with more memory."
    ),
    "time-out": say("Look at its last lines: does it hang, or is this frame so much heavier?"),
    "missing file": say("Bring the missing file back or pack it into the scene, then render again."),
    "bad output": say("Look whether the disk has room, then try the frame again."),
    "crash": say(
        "Try the frame again; if it crashes on other computers too, open it in Blender and render it there."
    ),
    "renderer error": say("Read its last lines, mend the scene and render again."),
    "node gone": say("Nothing: another computer does it."),
}
ELSE_DO = say("Read its last lines, mend the scene and render again.")
GONE = "the node was not heard of any more"


def reason_kind(reason: str) -> str:
    """The wire's reason at the head of what a journal says."""
    if reason == GONE:
        return "node gone"
    return next((kind for kind in TO_DO if reason.startswith(kind)), reason.partition(":")[0])


def happened(task: str, computer: str, file: str, reason: str, told: str = "") -> str:
    """One sentence: "Frame 7 of sh010.blend failed on render3: out of memory."."""
    why = told.rstrip(". ") or reason.rstrip(". ")
    task = task[:1].upper() + task[1:]
    if not computer:
        return say("{task} of {file} failed: {why}.", task=task, file=file, why=why)
    return say(
        "{task} of {file} failed on {computer}: {why}.", task=task, file=file, computer=computer, why=why
    )


def to_do(reason: str, rule: str = "") -> str:
    """One thing to do. `rule`: the kind of the rule that fitted, if one did."""
    if rule in ("licence", "later"):
        return say("Nothing: it is tried again by itself.")
    if rule == "computer":
        return say("Nothing for you: another computer does it. Somebody should look after this one.")
    if rule == "lacking":
        return say("Nothing, if another computer has it. Else have it installed, or choose another renderer.")
    if rule == "fatal":
        return say("Mend this in the scene, save it, and render again.")
    return TO_DO.get(reason_kind(reason), ELSE_DO)
