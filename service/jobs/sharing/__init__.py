"""Jobs that several services share through one store, which alone says what is true.

    jobs/<id>/...                    a job: its records, its checkpoint, its files; see `journal`
    jobs/<id>/standing.json          how far it is, as the service that has it tells
    jobs/<id>/gone.json              why it was removed
    pending/<service>/<id>           a job that this service has to finish
    services/<service>               rewritten as long as the service lives
    cancels/<id>                     a client has cancelled the job
    owners/<owner>/<time>-<job>      the jobs of an owner, in the order in which they came

A service finishes its own jobs. If it is gone, another one takes them over. Two that think a job is
theirs do no harm: a claim and an outcome are each written once.
"""
