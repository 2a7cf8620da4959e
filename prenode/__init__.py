"""Croft's prenode: starts nodes on somebody else's scheduler, such as Slurm, where the farm wants some.

Copy this folder and `node/` to a machine from which that scheduler can be asked, write a config.json, and
run `python3 prenode --config config.json`. Standard library alone. `main` reads the command line, `bridge`
is the loop, `plan` decides, `book` remembers what was started, `engine` speaks with the scheduler by the
words of a JSON file in engines/, and `far` is what runs over there.
"""

VERSION = "0.1.0"
