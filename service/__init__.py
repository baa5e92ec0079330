"""The HTTP service of convlast.

The service process never imports torch: each conversion runs in a worker process of its own.
"""
