"""The HTTP face of convlast: bytes in, bytes out.

It touches no tensor and never imports torch: each conversion runs in a worker process of its own.
"""
