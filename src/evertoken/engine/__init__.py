"""The engine: threads and locks around the pure core. A theory of operation.

The core decides, the engine performs. Which thread runs what:

- A caller's thread reads one attribute while the token is fresh. Once per `recheck` it polls
  the stores: one `stat` of a file, and 20 ms at most for Redis. It waits for a renewal only if no
  token is usable, and no longer than its own timeout.
- `evertoken-renewal` runs one renewal of one manager: a `Driver` performs the effects of
  `core.renewal`. It may wait for the locks of stores, the token endpoint and a slow hash.
- `evertoken-poll` polls one store across a network (`StoreWatcher`).
- `evertoken-save` mends a store that has lost what this process knows.
- `evertoken-exit` lives while a renewal that has released its callers still saves a refusal.
- `evertoken-refresher` starts the renewals of one manager with `keep_fresh`.

All but `evertoken-exit` are daemon threads: an exit waits for that one alone, 0.7 s at most. Where
no thread can start, the caller that has to wait renews in its own call.

Which lock guards what, in the order in which they are taken:

1. `Renewer._lock` (one per manager, reentrant): snapshot, in-flight renewal, counters. Held for
   pure functions alone, never during I/O, a callback or a log call.
2. The lock of an identity in the process's memory, then that of its file or Redis key: held by the
   renewal thread and by `revoke()` around load, request and save. They save requests; nothing else
   depends on them, but for exclusive grants.
3. `MemoryStore._guard` (reentrant) and `StoreWatcher._guard`: their own dictionaries and flags.
4. The lock around a slow hash: one at a time in the process.

Where a token is while it is being renewed: the old one stays in the snapshot, and is sent, until it
expires; the new one exists in the renewal thread alone until it has been saved, far to near, and is
then published with one assignment. After a fork the child starts with the parent's snapshot, new
locks and no renewal in flight.
"""
