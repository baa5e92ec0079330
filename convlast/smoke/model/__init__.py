"""The smoke of a whole model: fp16 against fp32, contiguous against converted, and who is to blame.

specimen          the model in one precision and layout at a time, and how to run it
emulation         fp16 for whole models on a CPU
events            what a watched forward reports: operators, modules' turns, failures
watching          watching a forward: each operator, each module's turn, and where it raised
outputs           the tensors that a model returns, and how to compare two results
readings          each module's output: its range, and a sample to compare with another run
trace             the layout of each activation in a forward, and which modules permute
hints             what keeps convolutions from being fast, whatever their layout
model_judgement   the verdict on the runs, with thresholds and their reasons
remedies          keeping modules in fp32, or using bfloat16, if fp16 breaks the model
ways              all the runs, in an order that needs only one module
clock             timing two functions against each other until it is known which is faster
timing            contiguous against converted, under several settings
dispatch          which kernels ran for which convolution, and what permuting costs
kernels           what a kernel's name says
measuring         timing and dispatch, and the little that can be measured on a CPU
choosing          `select=fastest`: sets of layers, measured inside the model
whole             run the model, judge the runs, and look for remedies
"""
