import os
import secrets

SECRET_KEY = secrets.token_urlsafe()
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["reports"]
ROOT_URLCONF = "reports.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.mysql",
        "HOST": os.environ["DATABASE_HOST"],
        "NAME": "reports",
        "USER": "reports",
        "PASSWORD": os.environ["DATABASE_PASSWORD"],
    }
}
