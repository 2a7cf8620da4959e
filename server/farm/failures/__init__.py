"""What is to be done about attempts that gave no frame. Pure: no files, no locks, no clock of its own.

patterns   which regular expressions may stand in a rule: none that could take for ever
rules      what a renderer's last lines mean, as data
verdict    who may try a task again, and when it has failed for good
bounds     how long a task may take on a node before it is given up
words      all of it for people: what happened, and one thing to do
"""
