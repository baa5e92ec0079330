"""What works inside a worker's sandbox, with CUDA in it: each thing by its name.

worker    the process behind the walls, which does one thing after the other
actions   what is done there
trials    workers, one after the other, and what they tell
mixed     a model with convolutions of each kind
"""
