"""The WSGI application that gunicorn serves."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sandboxportal.settings")
pages = get_wsgi_application()

from sandboxportal.monitoring import with_monitoring  # noqa: E402 - after the settings are loaded

application = with_monitoring(pages)
