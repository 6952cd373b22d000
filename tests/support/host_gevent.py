"""Settings for gunicorn that patch before the application is imported, as gevent asks for.

Without them gunicorn's worker patches after it was forked, and the manager was made before.
"""

from gevent import monkey

monkey.patch_all()
