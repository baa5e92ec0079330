"""The fp16 smoke test: does a converted weight give the same results as the contiguous one?

precision         fp16 on a device, and its name in the report
parity            how far two outputs agree, and how far they have to
fp16_range        how a tensor's values fit into fp16
layout            the memory format of an output
convolution       one convolution, and the hyperparameters that the file does not contain
out_of_memory     detecting that memory ran out, and retrying with smaller inputs
operands          the tensors of an operator, and their memory
modes             a dispatch mode that sees every operator, without PyTorch's compiler
unwritten         memory that a model allocates and has not written yet
random_numbers    the same random numbers in every layout and precision
device_health     whether the device still works after a failure
layers            each convolution run alone
layer_judgement   the verdict on a convolution, and on all of them
file              the smoke of a whole file
model             the smoke of a whole model
"""
