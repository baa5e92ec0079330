"""Jobs: what was asked for, how far it is, and what came of it, through crashes and restarts.

identity    the id of a job, which follows from its request
records     what is written of a job: `Accepted` and `Outcome`
journal     writes it, in an order that a crash cannot confuse
entry       a job in memory: its state, its standing, and the clients that wait for it
joining     gives a request its job: one that is there, or a new one
running     runs a job to its end
sharing     several services with one store
board       all jobs: submit, find, list, cancel, remove, resume
"""
