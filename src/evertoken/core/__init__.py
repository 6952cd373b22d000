"""The core decides when a token is renewed and by whom. It has no I/O, no threads and no clock.

Theory of operation
===================

One value. What a process or a store knows about an identity is an `Entry`: the newest access token,
the login of an exclusive grant, the highest revoked generation, and the newest failures, including
those that have ended. `join` merges two entries. It is commutative, associative and idempotent, so
reports may arrive in any order, late or twice: a newer token is never lost, and a dead one never
returns, except across a demotion (below). Adopting, saving, revoking and failing are all joins.

One order. Each token gets a generation before its request is sent: one more than the highest known
generation, or the clock's seconds if that is higher (`next_generation`, by `OrderingTime`: Redis's
own clock if a store is Redis). Clocks that step or disagree therefore cannot decide which of two
tokens is newer. Two renewals that run without a lock may get the same generation; the token's text
then decides. `revoke()` also kills a token whose request is in flight, unless a store holds a token
of other credentials; `invalidate()` does not. A clock that was set to a wrong year can leave a
generation far in the future, which would beat every later one: each merge lowers it (`demoted`,
`join_at`).

One decision. A manager publishes a `Snapshot`. `decide` reads a snapshot and the time, nothing
else, and callers follow its answer. Each event produces a new snapshot.

    state          usable  due  action           who does what
    -------------  ------  ---  ---------------  -----------------------------------------------
    fresh          yes     no   USE              everyone sends the token
    stale          yes     yes  REFRESH_IF_FREE  one caller starts a renewal; all send the token
    rejected       no      yes  REFRESH_OR_WAIT  a renewal is under way; callers wait for it
    expired, none  no      yes  REFRESH_OR_WAIT  one renewal; callers wait, each to its timeout
    cooling down   no      no   FAIL             callers get the remembered error

    event                                   next state
    --------------------------------------  --------------------------------------------------
    a token is granted or adopted           fresh                          (`with_token`)
    the activation delay ends               unchanged                      (`activated`)
    the refresh window begins               stale
    the token is no longer usable           expired
    another process holds the lock          unchanged; next try soon       (`postponed`)
    a renewal fails, the token is usable    fresh until the back-off or the token ends,
                                            whichever comes first          (`with_failure`)
    a renewal fails, no token is usable     cooling down                   (`with_failure`)
    the credentials were refused            as above. While no token is usable, a renewal reads
                                            the credentials again once per `recheck`, and sends
                                            a request only if they have changed
    a late result brings an expired token   unchanged: the token is dropped, and callers ask
                                            again                          (`apply_result`)
    a store reports an outage               unchanged if fresh; else as after a failed renewal
                                                                           (`merge_shared`)
    a newer login is found                  the failure is forgotten; a renewal is due
                                                                           (`informed_by`)
    an API answers 401                      rejected, until the result; fresh again if there is
                                            no other token                 (`with_rejected`)
    the token is revoked or invalidated     none                           (`revoked`)
    a renewal ends REVOKED or FAILED_LATE   unchanged, but a revoked token is dropped; next try
                                            soon                           (`apply_result`)
    a renewal publishes early               as at its end; what it learns afterwards is merged
                                                                           (`informed_by`)
    the credentials name another identity   none; nothing is carried over  (`apply_result`)

REVOKED means that the server granted a token, but a revocation made meanwhile covers it. A result
is late if it arrives more than the grant's deadline plus one second (`REQUEST_SLACK`) after its
last request was sent: the process is assumed to have been suspended. A late token is used if it is
usable. A late failure (FAILED_LATE) says nothing about the endpoint: it starts no back-off, and the
remembered failure stays. A late refusal still counts, since it is a verdict on the credentials.

One protocol. A renewal is a generator of effects (`effects`, `renewal`). A driver performs each
effect and sends its result back: a thread in production, a simulator in the tests. Stores are
ordered near to far: store 0 is the process's memory, then comes the file or Redis. A poll is a load
outside a renewal, once per `recheck`.

    step                     why
    -----------------------  -----------------------------------------------------------------------
    read the credentials     once, before any lock: the identity, the request and a refusal's hash
                             come from this one reading, whatever a callable would return later
    lock each store,         so that one process of a fleet sends the request. If no caller waits
      near to far            and the token is not overdue (half of its window is left), the lock is
                             tried once, and a taken lock ends the renewal BUSY. Otherwise the
                             renewal waits in slices of a second and loads the store between them,
                             since the holder may have saved a token. After half the manager's
                             timeout, and up to a quarter more of that, it goes on without the lock
                             (an exclusive grant never does):
                             the lock saves requests; correctness does not depend on it
    load each store          a token that a sibling has just saved makes the request unnecessary.
                             The far stores are loaded before a token of a near one is adopted: one
                             of them may hold its revocation
    check the owner          inside a process a token belongs to credentials (see Ownership)
    send the request         at most one grant per second. A caller without a usable token gets up
                             to three tries within about a second, unless an outage, or a failure
                             of its own manager, is known
    save, far to near        a crash in between leaves the token where most processes can see it
    revoke a token that was  it is revoked at the server and given to no caller
      revoked in flight
    release the callers      after the locks are released. A refusal is published before the slow
                             hash and the save, which only siblings need. If the entry already holds
                             refusals, the hash comes first, because it finds our own count

Where is a token while it is being renewed? The old one stays in the snapshot, and is sent as long
as it is usable. The new one exists only in the generator (`Exchange.known`) until it is saved, far
to near. Then the locks are released, and `apply_result` puts it into the snapshot. Stores and polls
may show it before the renewal's own callers get it. If the process is killed before the save, or a
store raises during it, the token is lost: that costs one more grant.

Which token is sent? The newest, except while the policy's `activation_delay` runs: some APIs accept
a new token only seconds after it was issued. Until then each manager still sends the token before
it (`former`), counted from when the new one reached that manager. Everything else goes by the
newest. The delay ends early when `former` is no longer usable, or is known to be dead: revoked,
invalidated, or rejected by an API, which then costs no renewal (`promoted`).

What happens on a 401? All stores are polled. A token other than the rejected one is used. If there
is none, one renewal starts, at most one a minute per identity and process. It is not `force`:
failures bind it. If it brings no token, the caller gets the API's answer, and the old token is sent
again until it ends, since the 401 may have been the API's fault. Siblings are not notified; they
see the newer token.

Ownership. Two managers of one identity may have different passwords, and an identity does not
include the password. Inside a process a token therefore belongs to credentials: for each identity
the process's memory keeps one `Owner`: the credentials that obtained the token or, for a token from
a store, the first that adopted it. The effect `MayAdopt` asks, by the manager's `Claim`. A manager
that is denied requests a token of its own. Every process that can read the store is trusted.

One assumption. The server lets two tokens of one identity live side by side. If a new token ends
the previous one, each sibling that still sends the previous one gets a 401 once, and then replaces
it.

What happens to a failure?

    kind         when                        whom it binds           how it ends
    -----------  --------------------------  ----------------------  -------------------------------
    refused      the server judged the       managers with the same  its time; a success of the same
                 credentials                 credentials, by hash,   credentials; for a manager,
                                             in the entry            changed credentials
    unavailable  something was sent, and no  everyone, in the entry  its time; a newer token; the
                 proper answer came                                  end or revocation of the token
                                                                     that was usable when it began
    local        nothing was sent: no        this manager, in its    as unavailable
                 connection, no DNS, a       snapshot only
                 callable that raised

Its time is set by the policy: a back-off from `retry_after` to `retry_after_max` or the server's
`Retry-After`, and for a refusal `refusal_cooldown`, doubled up to `refusal_cooldown_max`. A newer
login ends any failure in the snapshot. The snapshot identifies a refusal by a fast fingerprint; the
entry, which other processes read, by a slow hash. A record with a count of 0 says that credentials
which had been refused were accepted later.

A store that fails does not fail the renewal. Its load and save return None, its lock `ABSENT` (or
`BUSY`, if the renewal can be put off): the process goes on from memory and renews alone, and a
later poll saves again what the store lacks. If a store raises, which its protocol forbids, the
renewal is a local failure. An exclusive grant sends nothing without its home store.

`force` sends a request despite all three kinds. An entry remembers one outage and eight refused
credentials, in separate slots. If they shared slots, an outage could evict a refusal and then be
cleared itself, and `join` would depend on the order. No failure of any kind ends a live token.

Exclusive grants (`exclusive`). A rotating refresh token is sent only under the lock of its home,
the farthest store, after a mark was saved there, and after one more look at the lock. The lock is
kept until the successor is saved. No lock helps a process that freezes between that look and the
request, or that is killed between the answer and the save: the login is lost unless the server
allows a grace period.

    what comes                           what becomes of the login
    -----------------------------------  -----------------------------------------------------------
    a token                              its successor is saved before the token is used
    no answer, or a garbled success      the same refresh token is sent once more, at once
    `invalid_grant`, and a sibling has   the sibling's is adopted: our lock was lost
      saved a newer login
    `invalid_grant` for a new initial    that one is never sent again; the stored login is used, if
      token, beside a login that works   the stored token is ours
    `invalid_grant` otherwise            it has ended, for everyone, until there is another one. The
                                         fallback starts that, where the grant has one
    any other error                      it stays; the error is a failure like any other
    the lock or the store fails          it stays, unsent: a local failure. The fallback asks
                                         without the store, where the grant has one

Modules: `instant`, `token`, `login`, `failure_kind`, `failure` and `entry` are values; `policy` and
`state` decide; `effects` defines what a driver performs, `hold` the result of a lock, and `outcome`
the result of a renewal; `exchange`, `renewal`, `exclusive` and `revocation` are the generators, and
`protocol` is the entry point for a driver.
"""
