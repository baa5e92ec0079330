"""The kit for a run on a machine that has a GPU, PyTorch and no network; `docs/gpu.md` tells how.

prepare.sh   here: puts what that machine lacks into `.gpu/`
wheels.txt   the packages among it; models.txt: those of the models; sdists.txt: those that have to
             be built
run.sh       there: all stages one after the other, each within its time
sanity/      what cuDNN runs, what the profiler sees, what takes how long
walls/       what works inside a worker's sandbox
refused      the system calls that the sandbox refused, from what strace saw
service      the service, alone or on a Ray cluster: how soon it is ready, what it converts, and how
             many jobs a second
jobs         what it is given to convert
bench        `benchmarks.gpu`; summary: its result in a few lines

findings     a line of JSON for each thing that was found, written at once
device       the GPU; or the CPU, in a rehearsal
process      what a process takes
"""
