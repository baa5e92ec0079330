"""The fp16 inference: does the converted weight give what the contiguous one gives?

precision     fp16 on a device, and what the report calls it
parity        how far two outputs agree, and how far they have to
ranges        how a tensor's values fit into fp16
layout        the memory format that an output came out in
convolution   one convolution, with what the file does not tell about it
memory        memory that ran out, and what to do then
layers        each convolution run alone, and the verdict on each
"""
