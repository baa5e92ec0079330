"""Asynchronous jobs while services are killed, jobs are cancelled, and hundreds of clients wait.

kills       is any job lost, or run to two results, when services, workers and clients go
cancel      how long until a cancelled job is answered, and is its process gone then
followers   are hundreds of waiting clients told of the end, and what do they cost meanwhile

orders      what is asked for, and what may come of it
ledger      every answer about a job; says which contradict each other
customer    a client that gets one order done, whatever happens
harm        kills and restarts a service, and kills workers
"""
