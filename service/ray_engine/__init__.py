"""Jobs on the machines of a Ray cluster: one detached actor for each GPU, or for each CPU slot.

Inside each actor are today's `LocalWorkers`, so a job runs behind the same walls as on one machine.
Where actors are, and when they are started again, is Ray's business. Files go through a store.
"""
