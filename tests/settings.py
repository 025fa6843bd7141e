"""The portal's settings as tests want them: keys of no value, mail and queue in memory."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from tests.harness.servers import on_servers, own_redis

# Not the var/ of a portal that runs in this checkout: its keys and files are none of the tests'.
_var = Path(tempfile.mkdtemp(prefix="portal-tests-"))
atexit.register(shutil.rmtree, _var, ignore_errors=True)
(_var / "static").mkdir()

os.environ |= {
    "VAR_DIR": str(_var),
    "SECRET_KEY": "tests-only-" + "x" * 50,
    "SANDBOX_ENCRYPTION_KEYS": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    "SANDBOX_INSTANCE": "tests",
    "ALLOWED_HOSTS": "testserver,127.0.0.1,localhost",
    "DEBUG": "off",
    "SANDBOX_RUNTIME": "memory",
    # Tests of the pool turn it on.
    "SANDBOX_POOL_SIZE": "0",
    # Tests of throttles set them.
    "SANDBOX_LAUNCHES_PER_HOUR": "0",
    "API_CALLS_PER_MINUTE": "0",
    "API_WRONG_TOKENS_PER_MINUTE": "0",
    # Nothing in the tests reaches another host; those about friendbot start a server of their own.
    "FRIENDBOT_URL": "http://127.0.0.1:9",
}
if on_servers():
    os.environ |= own_redis()

from sandboxportal.settings import *  # noqa: E402, F403 - reads what is set above

EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
if on_servers():
    DATABASES["default"]["TEST"] = {"TEMPLATE": os.environ["TESTS_TEMPLATE"]}  # noqa: F405
else:
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
CELERY_TASK_ALWAYS_EAGER = True
CELERY_TASK_EAGER_PROPAGATES = True
STORAGES = STORAGES | {  # noqa: F405
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
}
