"""Files that others wrote to try scanners and loaders, sent to a real service.

Each goes through `POST /convert` as it is and re-encoded: a pickle also as the objects of a torch
zip and of a torch legacy file, in its own opcodes and in those of protocol 2, so that the
allow-list is tried and not the protocol alone; the members of a zip also beside those of a sound
checkpoint. Each must be answered by a documented problem, or by a right artifact, within 5 s and
300 MiB of anonymous memory above the idle worker. Then all are sent again while strace watches:
once a worker has opened its upload it may start no program, open no socket, and write only in its
own folder.

    python -m benchmarks.corpora picklescan=FOLDER modelaudit=FOLDER ...

FOLDER is a checkout, or what generators made; of a test's source its bytes literals are taken.
Nothing in it is executed or unpickled here. Prints one JSON object; exits with 1 if anything was
wrong. Without strace, or with --no-audit, the second half is left out, and the result says so.
"""
