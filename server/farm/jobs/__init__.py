"""Jobs: what was asked for (`job.json`), what happened (`journal.jsonl`), and the fold between them.

states   the six job states and the one table of allowed moves
job      the fold: a job's tasks, claims and sums, from its journal's lines; no files
record   reading a job's request and its sum, with suspicion
inputs   the files that a scene links, and which of them changed meanwhile
texts    what attempts have said so far, while they run: in memory
logs     what attempts said that are over: files of a job's folder, limited in size
snapshots the bytes that a job renders: the scene's and its caches', shared by jobs of the same
place    a job's files: reading and catching up with its journal, appending, restores, outputs, logs
submit   a new job: snapshot, version folder, folder; whole or not at all
"""
