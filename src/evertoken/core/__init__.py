"""The core: when a token is renewed, by whom, and what becomes of it. It performs nothing itself.

Theory of operation
===================

One value. What a process or a store knows about an identity is an `Entry`: the newest access token,
the login of an exclusive grant, the generation through which everything is revoked, and the
failures that are being waited out. `join` merges two entries. It is commutative, associative and
idempotent, so reports may arrive in any order, late or twice: a newer token is never lost, and a
dead one never returns. Adopting, saving, revoking and failing are all joins.

One order. `next_generation` gives each token a generation under the renewal lock: one more than
anything known, or the whole seconds of the clock if that is more (`OrderingTime`: Redis's own
clock where a store is Redis). Clocks that step or disagree therefore cannot decide which of two
tokens is newer. It is taken before the request is sent, so a revocation also covers a token that is
on its way. A generation from the far future, which a clock
set to another year leaves behind, is demoted wherever it is met (`demoted`, `join_at`).

One decision. A manager publishes a `Snapshot`; `decide` reads nothing else, and nobody changes what
it says. Each event makes a new snapshot.

    state          usable  due  action           who does what
    -------------  ------  ---  ---------------  -----------------------------------------------
    fresh          yes     no   USE              everyone sends the token
    stale          yes     yes  REFRESH_IF_FREE  one caller starts a renewal; all send the token
    expired, none  no      yes  REFRESH_OR_WAIT  one renewal; callers wait, each to its timeout
    cooling down   no      no   FAIL             callers get the remembered error

    event                                   next state
    --------------------------------------  --------------------------------------------------
    a token is granted or adopted           fresh                          (`with_token`)
    the window before its expiry begins     stale
    its last use is over                    expired
    another process holds the lock          as before; next try soon       (`postponed`)
    a renewal fails, the token is usable    fresh until the back-off ends, at most until the
                                            token's end                    (`with_failure`)
    a renewal fails, no token is usable     cooling down                   (`with_failure`)
    an API answers 401                      expired, until the result      (`with_rejected`)
    the token is revoked or invalidated     none                           (`revoked`)
    the credentials name another identity   none; nothing is carried over  (`apply_result`)

One protocol. A renewal is a generator of effects (`effects`, `renewal`). A driver performs each
effect and sends its result back: a thread does so in production, a simulator in the tests.

    step                    why
    ----------------------  ------------------------------------------------------------------------
    read the credentials    once, before any lock: this reading is the identity, the request and
                            the memory of a refusal, even if a callable answers differently later
    lock each store,        so that one process of a fleet asks; waiting is cut into slices, since
      near to far           the holder may save a token meanwhile. After the timeout the renewal
                            goes on without the lock: it only saves grants
    load each store         a token that a sibling has just saved makes the request needless; a
                            token in a near store is believed only after the far ones were asked
    may we adopt it?        inside a process a token belongs to the credentials that obtained it
    ask                     with a floor of a second between grants; a cold renewal, which somebody
                            waits for with nothing, is tried three times
    save, far to near       a crash in between leaves the token where most can see it
    release the callers     they never wait for the slow hash of refused credentials

Where is a token while it is being renewed? The old one stays in the snapshot and is sent as long as
it is usable. The new one exists only in the generator (`Renewal.known`) until it is saved; after
that it is in the stores, then, through `apply_result`, in the snapshot. A process that is killed in
between loses it, which costs one more grant. The result of a renewal that was abandoned is merged
like any other: a live token is welcome, and an expired one is dropped.

What happens to a failure?

    kind         when                                whom it binds           how it ends
    -----------  ----------------------------------  ----------------------  ----------------------
    refused      the server judged the credentials   who has the same ones,  its time; a success of
                                                     by hash, in the entry   the same credentials
    unavailable  something was sent, and no proper   everyone, in the entry  its time; a newer
                 answer came                                                 token; once more at the
                                                                             end of a live token
    local        nothing was sent                    this manager, in its    its time; a newer
                                                     snapshot only           token or login

An entry remembers one outage and eight refused credentials. They do not compete for room: a token
clears the outage, and `join` would depend on the order if that had pushed out a refusal before.
No failure of any kind ends a live token.

Exclusive grants (`exclusive`). A rotating refresh token is sent only under the lock of its home,
the farthest store, after a mark was saved there, and after one more look at the lock. The lock is
kept until the successor is saved. No lock helps a process that freezes between that look and the
request, or that is killed between the answer and the save: the login is lost unless the server
allows a grace period.

Modules: `instant`, `token`, `failure`, `entry` are values; `policy` and `state` decide; `effects`
names what a driver must do; `exchange`, `renewal`, `exclusive` and `revocation` are the generators,
and `protocol` is where a driver enters.
"""
