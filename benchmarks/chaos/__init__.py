"""A fleet that is broken on purpose, and a checker that reads what happened.

    python -m benchmarks.chaos --seed 1 --minutes 60 --results DIR

How it works
============

Two simulated machines, A and B, each with a folder (a small disk of its own where the user may
mount one), a clock that steps, and a link to one real Valkey that can be cut (`machine`). Six
identities, each with a token server of its own, so that a token that crosses an identity is met at
the wrong server and known (`world`). Worker processes of several kinds call the APIs (`worker`),
and are started again when they die (`fleet`). A nemesis draws faults (`nemesis`, `faults`,
`file_faults`); several are in force at the same time.

Everybody writes down what they saw, by the clock since boot that no fault touches: the workers
their calls (`diary`), the servers what they answered (`endpoint`), the nemesis its faults. All of
it is a `history`. When a segment is
over, seven rules read the history (`checker`, `excuses`). What a fault may do to a fleet is a table
(`kinds`): how many grants it costs, whose calls may fail while it lasts, for how long its effects
may last afterwards, whether it may lose a login, and why.

A run consists of segments of a few minutes. Each has its own seed, ends with a quiet time in which
all must become well again, and leaves one file of results; a run that was interrupted goes on with
the segments that are missing.
"""
