"""The engine: who runs what the pure core decides. A theory of operation.

The core decides, the engine performs. Where a token is during a renewal, and whose it is: see
`core`. All threads below belong to the process (`runtime`), not to a manager: a manager is little
more than its snapshot.

Which thread runs what:

- A caller's thread reads one attribute while the token is fresh. Once per `recheck` it polls the
  stores: for a file two `stat` calls, in its own thread, so a hung NFS folder holds it; for Redis
  it waits 20 ms at most, 1 s after a 401. If no token is usable, or in `refresh()`, it waits for
  the renewal, no longer than its own timeout. `revoke()` and `invalidate()` wait for the pool,
  without a limit of their own: each of their steps has one. A user name that is a callable is
  called in the caller's thread before the first renewal.
- `evertoken-worker`: up to 64 threads, the pool, which end after 10 s without work. A renewal
  (a `Driver` performs the effects of `core.renewal`), a poll of Redis, a save that mends a store, a
  revocation, a look of the scheduler and a report are each one task. One endpoint or folder has at
  most a quarter of the pool (16 threads), so one that hangs leaves the others room.
- `evertoken-scheduler` sleeps until the first `keep_fresh` manager is due, 30 s at most, and has
  the pool look at that manager.
- `evertoken-store` runs one call to Redis, so that the thread that wants it can give up in time.
- The main thread has a short-lived thread start each of these: `Thread.start` waits in Python code,
  which a signal handler may interrupt.

All are daemon threads. At exit the main thread waits for the pool, 1 s at most: a renewal that was
begun is saved, a refusal is remembered, and what was to be logged is.

Where no thread can run (uWSGI without threads, a thread limit, an isolated sub-interpreter, an
interpreter that ends) the pool refuses the task, and one of the callers that wait runs it in its
own thread, with all of its locks. A caller whose token is due renews in its own call.

Lock order: a thread that holds a lock may take only locks nested under it. Locks 2 and 3 are
leaves, which may be taken under any other.

1. The locks of an identity, near to far: the one in the process's memory, then its file's or its
   Redis key's. A renewal holds them from before the load until after the save: over the request,
   its tries and the slow hash. A revocation holds them over its load, its save and the request to
   the server. They save requests; correctness does not depend on them, except for exclusive grants.
   1. The save lock of a file (`<id>.save`): around one read, join and replace.
   2. The lock around a slow hash: one at a time in the process.
   3. `process.lock()`, one for the process, reentrant: snapshots, renewals in flight, counters, the
      pool's queues. Held for bookkeeping in memory alone: no store, request, call of a user's or
      log record inside.
      1. `MemoryStore._guard` (reentrant): its entries, owners, claims and identity locks.
         1. `lazy.loading` (reentrant): around an import, and around a fork.
2. The lock of a link to Redis (reentrant): its own few fields.
3. The turn of the reporter: held by the one thread that calls log handlers and listeners. No other
   lock of ours is held there, since they may call the library.

What a caller's thread does survives an exception that a signal handler raises anywhere. Where
threads can run it takes only the locks under 1.3, always by `with`, and blocks only in C
(`Waiters`), not in a `Condition` or a `Future`, whose Python code such an exception would leave
locked. If it is interrupted before it submits a task to the pool, the next caller submits it.

A log record and a call of `on_event` are tasks of the pool too, queued before the waiting callers
are released, and made one after the other: a handler that blocks delays other reports, no request.

If one step of a renewal takes longer than the grant's deadline and 1 s (30 s if the grant has
none), because a callable hangs, a name is not resolved or the process was frozen, the renewal is
abandoned: the next caller starts a new one, and those that wait go over to it. The stuck thread
keeps its place in the pool, and its locks. 16 of them block their endpoint: renewals there wait in
the queue. If a stuck renewal ends after all, its token reaches callers only through the stores. A
renewal of an exclusive grant is never abandoned.

After a fork the child has the parent's snapshots and none of its threads. It notices by its process
id, at the first call that leaves the fast path and before any inherited lock is touched: a C
program such as uWSGI may fork without Python's hooks, which only make it earlier. It replaces every
registered lock at once, makes its pool, scheduler and reporter at their first use, and ignores the
parent's renewal in flight. A `keep_fresh` manager of the parent's is kept again from then on. Only
hooks can have a fork wait for an import (`lazy.loading`).
"""
