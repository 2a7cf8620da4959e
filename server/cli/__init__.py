"""The commands of run.py, one file each; each has `run(options) -> exit code`."""
