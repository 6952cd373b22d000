"""Settings for gunicorn that patch before the application is imported, as gevent requires.

Otherwise gunicorn's worker patches after the fork, when the manager already exists.
"""

from gevent import monkey

monkey.patch_all()
