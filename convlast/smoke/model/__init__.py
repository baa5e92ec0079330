"""The smoke of a whole model: fp16 against fp32, contiguous against converted, and who is to blame.

specimen    the model in one precision and layout at a time, and a run of it
modes       every operator seen, without PyTorch's compiler
emulation   fp16 for whole models on a CPU
watching    a forward watched: each operator, each module's turn, and where it raised
outputs     what a model returns, taken apart and compared
readings    what each module gave: its range, and a sample to compare with another run
trace       which layout activations have on their way, and who permutes
hints       what keeps convolutions from being fast, whatever their layout
judgement   what the runs say, with thresholds and their reasons
remedies    modules kept in fp32, or bfloat16, where fp16 breaks the model
ways        all the runs, in an order that needs one module
clock       two things timed against each other until it is known which is faster
timing      contiguous against converted, under several settings
dispatch    which kernels ran for which convolution, and what permuting costs
kernels     what a kernel's name says
measuring   timing and dispatch, and the little that a CPU can tell
choosing    `select=fastest`: sets of layers, measured inside the model
whole       run, judge, look for what helps
"""
