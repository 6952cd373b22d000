"""The engine: who runs what the pure core decides. A theory of operation.

The core decides, the engine performs. `core` tells where a token is while it is being renewed, and
whose it is (its section on ownership; here `Claim` asks for a manager). All threads below belong to
the process (`runtime`), not to a manager: a manager is little more than its snapshot.

Which thread runs what:

- A caller's thread reads one attribute while the token is fresh. Once per `recheck` it polls the
  stores: two `stat` calls for a file; for Redis it waits 20 ms at most, 1 s after a 401. If no
  token is usable, or in `refresh()`, it waits for the renewal, no longer than its own timeout;
  in `revoke()` and `invalidate()`, for the pool to do it.
- `evertoken-worker`: up to 64 threads, the pool, which end after 10 s without work. A renewal
  (a `Driver` performs the effects of `core.renewal`), a poll of Redis, a save that mends a store, a
  revocation, a look of the scheduler and a report are each one task. One endpoint or folder has at
  most a quarter of the pool, so one that hangs leaves the others room.
- `evertoken-scheduler` sleeps until the first `keep_fresh` manager is due, 30 s at most, and has
  the pool look at that manager.
- `evertoken-store` runs one call to Redis, so that the thread that wants it can give up in time.

All are daemon threads. An exit waits for what the pool does, 1 s at most: a renewal that was begun
is saved, a refusal is remembered, and what was to be logged is.

Where no thread can run (uWSGI without threads, a thread limit, an isolated sub-interpreter, an
interpreter that ends) the pool refuses, and a caller that waits does the task in its own call. Of
several that wait for one renewal, one does it. A caller whose token is due renews in its own call.

Which lock guards what. A thread that holds one takes only locks below it on the same path:

1. The locks of an identity, near to far: the one in the process's memory, then its file's or its
   Redis key's. Only a pool thread takes them, around load, request and save. They save requests;
   correctness does not depend on them, except for exclusive grants.
   1. The save lock of a file (`<id>.save`): around one read, join and replace.
   2. The lock around a slow hash: one at a time in the process.
   3. `process.lock()`, one for the process, reentrant: snapshots, renewals in flight, counters, the
      pool's queues. Held for bookkeeping in memory alone: no store, request, call of a user's or
      log record inside.
      1. `MemoryStore._guard` (reentrant): its entries, owners, claims and identity locks.
         1. `lazy.loading` (reentrant): around an import, and around a fork.
2. The lock of a link to Redis (reentrant): its own few fields; nothing of ours is taken inside.

What a caller's thread does survives an exception that a signal handler raises anywhere. It takes no
lock but those of 1.3, by `with`, and waits in C (`Waiters`), not in a `Condition` or a `Future`,
whose Python code such an exception would leave locked. What it was about to hand to the pool, the
next caller hands over.

A log record and a call of `on_event` are tasks of the pool too, told before the waiting callers are
released, and made one after the other: a handler that blocks delays other reports, and no request.

A renewal whose step takes longer than the grant's deadline and 1 s (a callable hangs, a name is not
resolved, the process was frozen) is abandoned: the next caller starts another, and a waiting one
goes over to that. Its thread ends when what it waits for does; until then it counts in the pool.
What it brings is merged, and handed to nobody. A renewal of an exclusive grant is never abandoned.

After a fork the child has the parent's snapshots and none of its threads. It notices by its process
id, at the first call that leaves the fast path and before any inherited lock is touched: a C
program such as uWSGI may fork without Python's hooks, which only make it earlier. Then the process
gets a new lock, pool and scheduler, and a renewal in flight of the parent's counts as none.
"""
