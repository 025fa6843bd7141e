"""The portal's own settings for the processes that tests start, with a fast password hasher."""

from sandboxportal.settings import *  # noqa: F403 - all of them

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
