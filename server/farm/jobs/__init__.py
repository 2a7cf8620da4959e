"""Jobs: what was asked for (`job.json`), what happened (`journal.jsonl`), and the fold between them.

states   the six job states and the one table of allowed moves
attempts one claim of a task by one node: its ids, and what is known of it while it is out
tasks    a job's tasks as columns: which wait, which are ready, which comes next
troubles what went wrong with its attempts, where and when
usage    what it has used: attempts, and the time of nodes, by node and by hour
job      one job in memory: its request, and columns of what its journal says
outputs  what its tasks have made: names, sizes, frames of chunks that lie there already
fold     what each kind of line of its journal does to a job; no files
plan     when it may begin, after which other jobs, on how many nodes
record   reading a job's request and its sum, with suspicion
inputs   the files that a scene links, and which of them changed meanwhile
texts    what attempts have said so far, while they run: in memory
logs     what attempts said that are over: files of a job's folder, limited in size
snapshots the bytes that a job renders: the scene's and its caches', shared by jobs of the same
place    a job's files: reading and catching up with its journal, appending, restores, outputs, logs
submit   a new job: snapshot, version folder, folder; whole or not at all
"""
