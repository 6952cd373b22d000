"""The engine runs what the pure core decides, on threads and under locks. A theory of operation.

`core` describes where a token is during a renewal, and to whom it belongs. All threads below belong
to the process (`runtime`), not to a manager: a manager is little more than its snapshot.

Which thread runs what:

- A caller's thread reads one attribute while the token is fresh. Once per `recheck` it polls the
  stores: for a file it makes two `stat` calls in its own thread, so a hung NFS folder blocks it;
  for Redis it waits at most 20 ms, or 1 s after a 401. If no token is usable, or in `refresh()`, it
  waits for the renewal until its own timeout. `revoke()` and `invalidate()` wait for the pool
  without a timeout of their own: each of their steps has one. If the user name is a callable, the
  caller's thread calls it before the first renewal.
- `evertoken-worker` is the pool: up to 64 threads, which end after 10 s without work. Each of these
  is one task: a renewal (a `Driver` performs the effects of `core.renewal`), a poll of Redis, a
  save that repairs a store, a revocation, a check by the scheduler, a report. One endpoint or
  folder gets at most a quarter of the pool (16 threads), so one that hangs does not block the
  others.
- `evertoken-scheduler` sleeps until the first `keep_fresh` manager is due, 30 s at most, and
  submits a check of that manager to the pool.
- `evertoken-store` makes one call to Redis, so that the thread that waits for it can time out.
- The main thread starts each of these from a short-lived helper thread: `Thread.start` waits in
  Python code, which a signal handler may interrupt.

All are daemon threads. At exit the main thread waits up to 1 s for the pool, so that a renewal in
flight is saved, a refusal is remembered and pending log records are written.

If no thread can run (uWSGI without threads, a thread limit, an isolated sub-interpreter, an
interpreter that is shutting down), the pool refuses the task, and one of the waiting callers runs
it in its own thread, with all of its locks. A caller whose token is due renews in its own call.

Lock order: a thread that holds a lock may take only the locks nested under it. Locks 2 and 3 are
leaves, which may be taken under any other lock.

1. The locks of an identity, near to far: the one in the process's memory, then that of its file or
   Redis key. A renewal holds them from before the load until after the save, including the request,
   its retries and the slow hash. A revocation holds them for its load, its save and its request to
   the server. They save requests; correctness does not depend on them, except for exclusive grants.
   1. The save lock of a file (`<id>.save`): around one read, join and replace. 2. The lock around a
   slow hash: one at a time in the process. 3. `process.lock()`, one per process, reentrant: guards
   snapshots, renewals in flight, counters and the pool's queues. Held only for bookkeeping in
   memory: never during a store access, a request, a user's callback or a log record.
      1. `MemoryStore._guard` (reentrant): guards its entries, owners, claims and identity locks.
         1. `lazy.loading` (reentrant): held during an import, and during a fork.
2. The lock of the circuit breaker of a Redis server (reentrant): guards its own few fields.
3. The lock of the reporter: held by the one thread that calls log handlers and listeners. That
   thread holds no other lock of ours, since they may call the library.

A signal handler may raise anywhere in a caller's thread without harm. If threads can run, that
thread takes only the locks under 1.3, always with `with`, and blocks only in C (`Waiters`). A
`Condition` or a `Future` blocks in Python code, where an exception would leave it locked. If the
thread is interrupted before it submits a task to the pool, the next caller submits it.

Log records and calls of `on_event` are tasks of the pool too. They are queued before the waiting
callers are released, and run one at a time: a handler that blocks delays other reports, but no
request.

A renewal is abandoned if one of its steps takes longer than the grant's deadline plus 1 s (30 s if
the grant has none), because a callable hangs, DNS does not answer or the process was suspended. The
next caller then starts a new renewal, and waiting callers switch to it. The stuck thread keeps its
place in the pool and its locks; 16 stuck threads block their endpoint, and renewals there stay
queued. If a stuck renewal ends after all, its token reaches callers only through the stores. A
renewal of an exclusive grant is never abandoned.

After a fork the child has the parent's snapshots but none of its threads. It detects the fork by
its process id, at the first call that leaves the fast path and before it touches an inherited lock.
It does not rely on Python's fork hooks, which a C program such as uWSGI bypasses; they only make it
happen earlier. It replaces every registered lock at once, creates its pool, scheduler and reporter
at their first use, and ignores the parent's renewal in flight. An inherited `keep_fresh` manager is
kept fresh again from its first call on. Only hooks can make a fork wait for an import
(`lazy.loading`).
"""
