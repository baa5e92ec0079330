"""Jobs: what was asked for, how far it is, and what came of it, through crashes and restarts.

identity    the id of a job, which follows from its request
records     what is written of a job: `Accepted` and `Outcome`
journal     writes it, in an order that a crash cannot confuse
entry       a job in memory: its state, its progress, and the clients that wait for it
results     what a worker has made, checked
attempts    runs a job to its end
board       all jobs: submit, find, list, cancel, remove, resume
"""
