"""The engine: threads and locks around the pure core. A theory of operation.

The core decides, the engine performs. `core` tells where a token is while it is being renewed, and
whose it is (its section on ownership; here `Claim` asks for a manager). Which thread runs what:

- A caller's thread reads one attribute while the token is fresh. Once per `recheck` it polls
  the stores: two `stat` calls for a file, and 20 ms at most for Redis, 1 s after a 401. It waits
  for a renewal if no token is usable, or in `refresh()`, and no longer than its own timeout.
- `evertoken-renewal` runs one renewal of one manager: a `Driver` performs the effects of
  `core.renewal`. It may wait for the locks of stores, the token endpoint and a slow hash.
- `evertoken-poll` polls one store across a network (`StoreWatcher`).
- `evertoken-store` runs one call to Redis, so that the thread that wants it can give up in time.
- `evertoken-save` mends a store that has lost what this process knows.
- `evertoken-exit` lives while a renewal that has released its callers still saves a refusal.
- `evertoken-refresher` starts the renewals of one manager with `keep_fresh`.
- A timer without a name ends a token request at its deadline (`grants.watch`).

All but `evertoken-exit` are daemon threads: an exit waits for that one alone, 0.7 s at most. Where
no thread can start, the caller that has to wait renews in its own call.

Which lock guards what. A thread that holds one takes only locks below it on the same path:

1. The locks of an identity, near to far: the one in the process's memory, then its file's or its
   Redis key's. The renewal thread and `revoke()` hold them around load, request and save. They save
   requests; correctness does not depend on them, except for exclusive grants.
   1. The save lock of a file (`<id>.save`): around one read, join and replace.
   2. The lock around a slow hash: one at a time in the process.
   3. `Renewer._lock` (one per manager, reentrant): snapshot, in-flight renewal, counters. Held for
      bookkeeping and a thread start; no store, request or log call inside.
      1. `MemoryStore._guard` (reentrant): its entries, owners, claims and identity locks.
         1. `lazy.loading` (reentrant): around an import, and around a fork.
2. `StoreWatcher._guard`, `Health._guard`, those of a link to Redis and of a request's deadline, and
   the `Future` of an in-flight renewal: their own few fields; nothing of ours is taken inside. A
   caller waits for that `Future` without a lock.

After a fork the child starts with the parent's snapshot, new locks and no renewal in flight.
"""
