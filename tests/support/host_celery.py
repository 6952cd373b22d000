"""A celery application whose manager is made at import; a task calls the API once."""

from __future__ import annotations

import celery

from support.host_call import Settings, imported

caller = imported()

app = celery.Celery("host", broker=Settings.of_environment().broker)
app.conf.update(
    broker_connection_retry_on_startup=True,
    # a task whose process is killed is run again
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    # with fewer, a pool of greenlets blocks on its broker
    worker_prefetch_multiplier=10,
)
app.task(caller.call, name="call")
