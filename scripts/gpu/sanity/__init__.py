"""A minute on the GPU: what is there, what cuDNN runs, what the profiler sees, what goes wrong.

environment     the machine, the first things that CUDA does, the settings of TF32
profiler        what PyTorch's profiler sees, raw, and what it costs
convolutions    kernels, times and errors of single convolutions in fp16 and fp32
pace            whether a forward is as fast as the GPU, or as the CPU that launches it
slices          weights as a conversion moves them
memory_errors   what is raised when the device's memory runs out
programs        what TorchScript hides of a program's operators
"""
