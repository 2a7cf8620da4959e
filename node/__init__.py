"""Croft's node: claims tasks from the server, does them, reports what came of it.

Copy this folder to a machine with Python 3.9 or newer and a renderer, put a config.json beside it and run
`python3 node --config config.json`. Nothing but the standard library is used, and the folder may have any
name. `main` reads the command line, `session` talks with the server, `slots` do the work.
"""

VERSION = "0.1.0"
