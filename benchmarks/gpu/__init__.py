"""What the layout pays on a GPU, whole models first, and what moving weights through it costs.

models      what is measured
measuring   one of them: contiguous, all converted, and what `select=fastest` chose
weights     the bytes of a conversion through the GPU, against a plain copy there and back
throughput  jobs a second of the service, and what starting CUDA in each of its workers takes
"""
