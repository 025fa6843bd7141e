"""Django settings, read from environment variables. The defaults suit a single machine.

Each variable is documented in docs/configuration.md, which a test compares with this file.
"""

from __future__ import annotations

import ipaddress
import os
import warnings
from email.utils import formataddr
from pathlib import Path
from typing import Any

import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from kombu import Queue

from sandboxportal import logs

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()


MAX_PORT = 65535


def _ports(variable: str, text: str) -> range:
    """Parse `20000-20999` or `443` as a range; an empty string is an empty range."""
    first, dash, last = text.partition("-")
    try:
        ports = range(int(first), int(last if dash else first) + 1) if text else range(0)
    except ValueError:
        ports = range(1, 0)
    if ports.stop < ports.start or (text and not (0 < ports.start < ports.stop <= MAX_PORT + 1)):
        raise ImproperlyConfigured(
            f"{variable} contains “{text}”. Use the form FIRST-LAST, such as 20000-20999."
        )
    return ports


def _networks(
    variable: str, texts: list[str]
) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Parse networks in CIDR notation, such as `203.0.113.0/24`."""
    try:
        return [ipaddress.ip_network(text.strip()) for text in texts]
    except ValueError as error:
        raise ImproperlyConfigured(
            f"{variable}: {error}. Use CIDR notation, such as 203.0.113.0/24, and commas between "
            "networks."
        ) from None


CACHE_BACKENDS = {
    "django.core.cache.backends.db.DatabaseCache": "sandboxportal.database_cache.DatabaseCache",
    "django.core.cache.backends.redis.RedisCache": "sandboxportal.redis_cache.RedisCache",
    "django.core.cache.backends.locmem.LocMemCache": "",
    "django.core.cache.backends.dummy.DummyCache": "",
}
"""Replacements of Django's backends, which load pickles that another process wrote."""


def _cache(config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of a cache that stores JSON."""
    backend = config.get("BACKEND", "")
    if backend not in CACHE_BACKENDS:
        raise ImproperlyConfigured(
            "CACHE_URL: only dbcache://TABLE, redis://… and rediss://… are supported, since other "
            "caches store pickles."
        )
    return config | {"BACKEND": CACHE_BACKENDS[backend] or backend}


# --- installation -----------------------------------------------------------------------------

VAR_DIR = Path(env.str("VAR_DIR", str(BASE_DIR / "var")))
# `make run` writes these files: keys and instance name, and the runtime. The environment takes
# precedence over them.
env.read_env(VAR_DIR / "env")
env.read_env(VAR_DIR / "runtime")

# Old names of environment variables, read until the next release.
RENAMED_VARIABLES = {
    "OPERATORS_NEED_SECOND_FACTOR": "OPERATORS_REQUIRE_MFA",
    "SANDBOX_LAUNCHES_AT_ONCE": "SANDBOX_MAX_CONCURRENT_LAUNCHES",
    "SANDBOX_MEMORY_FLOOR_MB": "SANDBOX_MIN_FREE_MEMORY_MB",
    "SANDBOX_REAPER_MAX_ENDINGS": "SANDBOX_SWEEP_MAX_EXPIRATIONS",
}
for _old, _new in RENAMED_VARIABLES.items():
    if _old in os.environ:
        warnings.warn(f"{_old} is deprecated; set {_new} instead.", FutureWarning, stacklevel=1)
        os.environ.setdefault(_new, os.environ[_old])

DEBUG = env.bool("DEBUG", False)
SECRET_KEY = env.str("SECRET_KEY", "")
if not SECRET_KEY:
    raise ImproperlyConfigured(
        "SECRET_KEY isn't set. Set it in the environment, or let `make run` generate it in var/env."
    )
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
SITE_URL = env.str("SITE_URL", "http://127.0.0.1:8000").rstrip("/")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
PORTAL_NAME = env.str("PORTAL_NAME", "Sandbox Portal")
PORTAL_LOGO = env.str("PORTAL_LOGO", "")
SUPPORT_CONTACT = env.str("SUPPORT_CONTACT", "")
HTTPS = env.bool("HTTPS", SITE_URL.startswith("https://"))
TRUSTED_PROXY_COUNT = env.int("TRUSTED_PROXY_COUNT", 0)

# --- sandboxes: lifetime and limits -----------------------------------------------------------

SANDBOX_INSTANCE = env.str("SANDBOX_INSTANCE", "portal")
SANDBOX_RUNTIME = env.str("SANDBOX_RUNTIME", "docker")
SANDBOX_BLUEPRINTS_DIR = Path(
    env.str("SANDBOX_BLUEPRINTS_DIR", str(BASE_DIR / "sandboxes" / "blueprints"))
)
SANDBOX_SHIPPED_BLUEPRINTS = env.bool("SANDBOX_SHIPPED_BLUEPRINTS", False)
BLUEPRINTS_WITH_PROJECT_FILES = ("billing",)
"""Folders in sandboxes/blueprints that may use the project's files; others use their own only."""
SANDBOX_DEFAULT_BLUEPRINT = env.str("SANDBOX_DEFAULT_BLUEPRINT", "billing")

SANDBOX_TTL_MINUTES = env.int("SANDBOX_TTL_MINUTES", 60)
SANDBOX_TTL_MIN_MINUTES = env.int("SANDBOX_TTL_MIN_MINUTES", 15)
SANDBOX_TTL_MAX_MINUTES = env.int("SANDBOX_TTL_MAX_MINUTES", 120)
SANDBOX_EXTENSION_MAX_MINUTES = env.int("SANDBOX_EXTENSION_MAX_MINUTES", 120)
SANDBOX_HARD_CAP_MINUTES = env.int("SANDBOX_HARD_CAP_MINUTES", 240)
SANDBOX_IDLE_MINUTES = env.int("SANDBOX_IDLE_MINUTES", 30)
SANDBOX_WARNING_MINUTES = env.int("SANDBOX_WARNING_MINUTES", 5)
SANDBOX_MAX_PER_USER = env.int("SANDBOX_MAX_PER_USER", 3)
SANDBOX_LAUNCHES_PER_HOUR = env.int("SANDBOX_LAUNCHES_PER_HOUR", 120)
SANDBOX_MAX_SITE = env.int("SANDBOX_MAX_SITE", 0)
SANDBOX_MEMORY_OVERCOMMIT = env.float("SANDBOX_MEMORY_OVERCOMMIT", 3.0)
SANDBOX_POOL_SIZE = env.int("SANDBOX_POOL_SIZE", 1)
SANDBOX_POOL_MAX_AGE_MINUTES = env.int("SANDBOX_POOL_MAX_AGE_MINUTES", 360)
SANDBOX_MAX_CONCURRENT_LAUNCHES = env.int("SANDBOX_MAX_CONCURRENT_LAUNCHES", 0) or max(
    2, os.cpu_count() or 1
)

SANDBOX_MEMORY_MB = env.int("SANDBOX_MEMORY_MB", 512)
SANDBOX_MEMORY_MAX_MB = env.int("SANDBOX_MEMORY_MAX_MB", 0)
SANDBOX_MIN_FREE_MEMORY_MB = env.int("SANDBOX_MIN_FREE_MEMORY_MB", SANDBOX_MEMORY_MB)
SANDBOX_CPUS = env.float("SANDBOX_CPUS", 1.0)
SANDBOX_CPUS_MAX = env.float("SANDBOX_CPUS_MAX", 0.0)
SANDBOX_DISK_MB = env.int("SANDBOX_DISK_MB", 2048)
SANDBOX_DISK_MAX_MB = env.int("SANDBOX_DISK_MAX_MB", 0)

# --- sandboxes: runtime and reaper ------------------------------------------------------------

DOCKER_HOST = env.str("DOCKER_HOST", "")
SANDBOX_SUBNETS = ipaddress.IPv4Network(env.str("SANDBOX_SUBNETS", "10.213.0.0/16"))
SANDBOX_BIND_ADDRESS = env.str("SANDBOX_BIND_ADDRESS", "127.0.0.1")
SANDBOX_PUBLIC_HOST = env.str("SANDBOX_PUBLIC_HOST", SANDBOX_BIND_ADDRESS)
SANDBOX_CONTAINER_RUNTIME = env.str("SANDBOX_CONTAINER_RUNTIME", "")
SANDBOX_ROOT_SERVICES = env.bool("SANDBOX_ROOT_SERVICES", False)
# When the portal runs as root, sandbox processes run as other users, who must not have access to
# VAR_DIR.
SANDBOX_PROCESS_DIR = Path(
    env.str("SANDBOX_PROCESS_DIR", "")
    or (
        f"/var/lib/sandboxportal/{SANDBOX_INSTANCE}" if os.geteuid() == 0 else VAR_DIR / "sandboxes"
    )
)
SANDBOX_PORTS = _ports("SANDBOX_PORTS", env.str("SANDBOX_PORTS", ""))
SANDBOX_DOMAIN = env.str("SANDBOX_DOMAIN", "").strip(".").lower()
SANDBOX_GATEWAY_TOKEN = env.str("SANDBOX_GATEWAY_TOKEN", "")
SANDBOX_GATEWAY_CERTIFICATE = env.str("SANDBOX_GATEWAY_CERTIFICATE", "")
SANDBOX_GATEWAY_KEY = env.str("SANDBOX_GATEWAY_KEY", "")
SANDBOX_GATEWAY_ACME_DNS = env.str("SANDBOX_GATEWAY_ACME_DNS", "")
SANDBOX_GATEWAY_ACME_EMAIL = env.str("SANDBOX_GATEWAY_ACME_EMAIL", "")
SANDBOX_GATEWAY_UPSTREAM = env.str("SANDBOX_GATEWAY_UPSTREAM", "")
SANDBOX_GATEWAY_HTTP_PORT = env.int("SANDBOX_GATEWAY_HTTP_PORT", 0)
SANDBOX_GATEWAY_HTTPS_PORT = env.int("SANDBOX_GATEWAY_HTTPS_PORT", 443)
SANDBOX_GATEWAY_POSTGRESQL_PORT = env.int("SANDBOX_GATEWAY_POSTGRESQL_PORT", 5432)
SANDBOX_ENGINE_TIMEOUT_SECONDS = env.int("SANDBOX_ENGINE_TIMEOUT_SECONDS", 10)
SANDBOX_ENGINE_AWAY_MINUTES = env.int("SANDBOX_ENGINE_AWAY_MINUTES", 5)
SANDBOX_ENGINE_CERTIFICATES = Path(
    env.str("SANDBOX_ENGINE_CERTIFICATES", str(VAR_DIR / "engine-certificates"))
)
SANDBOX_ENGINE_CA = Path(env.str("SANDBOX_ENGINE_CA", str(VAR_DIR / "engine-ca")))
SANDBOX_PROVISION_TIMEOUT_SECONDS = env.int("SANDBOX_PROVISION_TIMEOUT_SECONDS", 60)
SANDBOX_ENCRYPTION_KEYS = env.list("SANDBOX_ENCRYPTION_KEYS", default=[])

SANDBOX_SWEEP_MAX_EXPIRATIONS = env.int("SANDBOX_SWEEP_MAX_EXPIRATIONS", 50)
SANDBOX_ORPHAN_GRACE_SECONDS = env.int("SANDBOX_ORPHAN_GRACE_SECONDS", 60)
SANDBOX_RETENTION_DAYS = env.int("SANDBOX_RETENTION_DAYS", 90)
SANDBOX_SAVE_POINTS_PER_USER = env.int("SANDBOX_SAVE_POINTS_PER_USER", 10)
SANDBOX_SAVE_POINTS_MB = env.int("SANDBOX_SAVE_POINTS_MB", 2048)
SANDBOX_SAVE_POINT_DAYS = env.int("SANDBOX_SAVE_POINT_DAYS", 7)

FRIENDBOT_URL = env.str("FRIENDBOT_URL", "https://friendbot.stellar.org")
HORIZON_URL = env.str("HORIZON_URL", "https://horizon-testnet.stellar.org")
STELLAR_NETWORK_PASSPHRASE = env.str(
    "STELLAR_NETWORK_PASSPHRASE", "Test SDF Network ; September 2015"
)

# --- Django -----------------------------------------------------------------------------------

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.github",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.usersessions",
    "csp",
    "django_htmx",
    "django_prometheus",
    "django_structlog",
    "ninja",
    "sandboxes",
]

MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "sandboxes.middleware.SandboxCookiesMiddleware",
    "sandboxes.middleware.RequestIDMiddleware",
    "sandboxes.middleware.ClientIPMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    # After WhiteNoise, so that static files may be cached.
    "sandboxes.middleware.NoStoreMiddleware",
    "sandboxes.middleware.CompressionMiddleware",
    "sandboxes.middleware.DiskReserveMiddleware",
    "csp.middleware.CSPMiddleware",
    "django_permissions_policy.PermissionsPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "sandboxes.middleware.RequestLogMiddleware",
    "sandboxes.middleware.LogContextMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "sandboxes.middleware.SignInCookiesMiddleware",
    "sandboxes.middleware.ExternalRedirectMiddleware",
    "sandboxes.middleware.RequireOperatorMFAMiddleware",
    "sandboxes.middleware.RuntimeSettingsMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

ROOT_URLCONF = "sandboxportal.urls"
WSGI_APPLICATION = "sandboxportal.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
USE_I18N = False
TIME_ZONE = "UTC"
FORMAT_MODULE_PATH = "sandboxportal.formats"
USE_TZ = True

# --- database and cache -----------------------------------------------------------------------

DATABASES = {"default": env.db_url("DATABASE_URL", f"sqlite:///{VAR_DIR / 'portal.sqlite3'}")}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # IMMEDIATE takes the write lock at BEGIN. With SQLite's default, a transaction that reads and
    # then writes fails at once if another one wrote in between, regardless of the timeout.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        # A small cache, since each thread has a connection; the system caches the file, too.
        "init_command": (
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-1024;"
        ),
    }
    # Web processes keep connections: to open the file and to read its schema would take a fifth of
    # the time of most requests.
    DATABASES["default"] |= {"CONN_MAX_AGE": env.int("DATABASE_CONN_MAX_AGE", 0)}
else:
    DATABASES["default"] |= {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}
    if DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
        DATABASES["default"]["ENGINE"] = "sandboxportal.postgresql"
    # Without timeouts, pages and `/readyz` would hang with the database.
    DATABASES["default"]["OPTIONS"] = {
        "connect_timeout": 5,
        "answer_timeout": env.float("DATABASE_TIMEOUT_SECONDS", None),
        **DATABASES["default"].get("OPTIONS", {}),
    }

# All processes must share the cache; otherwise rate limits would apply to each process separately.
CACHES = {"default": _cache(env.cache_url("CACHE_URL", "dbcache://portal_cache"))}

# --- web process ------------------------------------------------------------------------------

# `deploy/gunicorn.conf.py` starts this number of threads in each worker process.
WEB_THREADS = env.int("WEB_THREADS", 24)

# --- task queue -------------------------------------------------------------------------------

CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", "") or "embedded://localhost"
# Messages only wake the worker: the rows in the database are the queue.
# Requests wait for the broker, so give up soon if it is down.
CELERY_BROKER_CONNECTION_TIMEOUT = 2
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0.1}
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, object] = {}
if CELERY_BROKER_URL == "embedded://localhost":
    CELERY_BROKER_TRANSPORT_OPTIONS = {"folder": str(VAR_DIR / "queue"), "polling_interval": 0.02}
elif CELERY_BROKER_URL.startswith("redis"):
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "socket_connect_timeout": 2,
        "socket_timeout": 3,
        "visibility_timeout": 120,
    }
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# Work that waits for other servers has a queue of its own. It and work on existing sandboxes have a
# bounded number of threads for each purpose, in addition to those for launches, which therefore
# never wait for it.
CELERY_TASK_QUEUES = [
    Queue("celery", routing_key="celery"),
    Queue("background", routing_key="background"),
]
CELERY_TASK_ROUTES = {
    task: {"queue": "background"}
    for task in (
        "sandboxes.webhooks.inbox.deliver",
        "sandboxes.sweeping.sweep",
        "sandboxes.tasks.count_requests",
        "sandboxes.tasks.fund",
        "sandboxes.tasks.invite",
        "sandboxes.tasks.send_account_mails",
        "sandboxes.tasks.tell",
        "sandboxes.webhooks.queue.deliver",
    )
}
WORKER_BATCH_THREADS = {
    "account_mails": 1,
    "events": 4,
    "funding": 2,
    "invitations": 1,
    "messages": 1,
    "removals": 6,
    "repairs": 3,
    "request_counts": 1,
    "resets": 3,
    "sweep": 1,
    "warnings": 2,
    "webhooks": 6,
}
WORKER_THREADS = env.int("WORKER_THREADS", 8)
CELERY_WORKER_CONCURRENCY = WORKER_THREADS + sum(WORKER_BATCH_THREADS.values())
# Without an end, so that the worker continues once the broker is back.
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
# No process loads a pickle that another one wrote.
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = CELERY_RESULT_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_BACKEND = "sandboxportal.celery_cache_backend.CacheBackend"
CELERY_RESULT_EXPIRES = 60
CELERY_WORKER_CONSUMER = "sandboxportal.celery_consumer.Consumer"
CELERY_WORKER_POOL = "threads"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_REDIRECT_STDOUTS = False
DJANGO_STRUCTLOG_CELERY_ENABLED = True
# django-structlog would trust any header with an address; the middleware logs the client's address.
DJANGO_STRUCTLOG_IP_LOGGING_ENABLED = False
# RequestIDMiddleware has validated it.
DJANGO_STRUCTLOG_TRUST_UPSTREAM_REQUEST_ID = True

# --- email ------------------------------------------------------------------------------------

EMAIL_URL = env.str("EMAIL_URL", "")
vars().update(
    env.email_url("EMAIL_URL", f"filemail://{VAR_DIR / 'mail'}")
    if EMAIL_URL
    else {
        "EMAIL_BACKEND": "django.core.mail.backends.filebased.EmailBackend",
        "EMAIL_FILE_PATH": str(VAR_DIR / "mail"),
    }
)
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", formataddr((PORTAL_NAME, "portal@localhost")))
EMAIL_SUBJECT_PREFIX = ""
EMAIL_TIMEOUT = 10

# --- webhooks ---------------------------------------------------------------------------------

WEBHOOKS_PER_USER = env.int("WEBHOOKS_PER_USER", 5)
WEBHOOK_LOG_DAYS = env.int("WEBHOOK_LOG_DAYS", 14)
WEBHOOK_ALLOW_HTTP = env.bool("WEBHOOK_ALLOW_HTTP", not HTTPS)
WEBHOOK_ALLOW_PRIVATE = env.bool("WEBHOOK_ALLOW_PRIVATE", False)
WEBHOOK_BLOCKED_NETWORKS = _networks(
    "WEBHOOK_BLOCKED_NETWORKS", env.list("WEBHOOK_BLOCKED_NETWORKS", default=[])
)
WEBHOOK_PORTS = [
    _ports("WEBHOOK_PORTS", ports.strip())
    for ports in env.list("WEBHOOK_PORTS", default=["80", "443", "1024-65535"])
]

# --- accounts and sign-in ---------------------------------------------------------------------

AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_REDIRECT_URL = "dashboard"
LOGIN_URL = "account_login"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_UNIQUE_EMAIL = True
# Without an email server, verification links couldn't be delivered.
ACCOUNT_EMAIL_VERIFICATION = env.str(
    "ACCOUNT_EMAIL_VERIFICATION", "mandatory" if EMAIL_URL else "none"
)
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_CONFIRM_EMAIL_ON_GET = False
ACCOUNT_SIGNUP_OPEN = env.bool("ACCOUNT_SIGNUP_OPEN", True)
ACCOUNT_SIGNUP_DOMAINS = env.str("ACCOUNT_SIGNUP_DOMAINS", "")
ACCOUNT_INVITATION_DAYS = env.int("ACCOUNT_INVITATION_DAYS", 7)
ACCOUNT_ADAPTER = "sandboxes.accounts.adapters.AccountAdapter"
ACCOUNT_FORMS = {
    "signup": "sandboxes.accounts.forms.SignUpForm",
    "add_email": "sandboxes.accounts.forms.AddEmailForm",
    "change_password": "sandboxes.accounts.forms.ChangePasswordForm",
    "reset_password": "sandboxes.accounts.forms.ResetPasswordForm",
    "reset_password_from_key": "sandboxes.accounts.forms.ResetPasswordKeyForm",
    "set_password": "sandboxes.accounts.forms.SetPasswordForm",
}
ACCOUNT_PASSWORD_RESET_TOKEN_GENERATOR = "sandboxes.accounts.password_resets.TokenGenerator"  # noqa: S105
# Send an email when a password, an email address, or a second factor changes.
ACCOUNT_EMAIL_NOTIFICATIONS = True
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_ADAPTER = "sandboxes.accounts.adapters.MFAAdapter"
MFA_TOTP_ISSUER = PORTAL_NAME
OPERATORS_REQUIRE_MFA = env.bool("OPERATORS_REQUIRE_MFA", HTTPS)

GITHUB_CLIENT_ID = env.str("GITHUB_CLIENT_ID", "")
GITHUB_CLIENT_SECRET = env.str("GITHUB_CLIENT_SECRET", "")
GITHUB_URL = env.str("GITHUB_URL", "").rstrip("/")
OIDC_SERVER_URL = env.str("OIDC_SERVER_URL", "").rstrip("/")
OIDC_CLIENT_ID = env.str("OIDC_CLIENT_ID", "")
OIDC_CLIENT_SECRET = env.str("OIDC_CLIENT_SECRET", "")
OIDC_NAME = env.str("OIDC_NAME", "Single sign-on")
SOCIALACCOUNT_ADAPTER = "sandboxes.accounts.adapters.SocialAccountAdapter"
SOCIALACCOUNT_FORMS = {"signup": "sandboxes.accounts.forms.ProviderSignUpForm"}
SOCIALACCOUNT_PROVIDERS: dict[str, dict[str, object]] = {
    "github": {
        "SCOPE": ["user:email"],
        # GitHub Enterprise has its own API address.
        **({"GITHUB_URL": GITHUB_URL} if GITHUB_URL else {}),
        "APPS": [{"client_id": GITHUB_CLIENT_ID, "secret": GITHUB_CLIENT_SECRET}],
    },
    "openid_connect": {
        "OAUTH_PKCE_ENABLED": True,
        "APPS": [
            {
                "provider_id": "oidc",
                "name": OIDC_NAME,
                "client_id": OIDC_CLIENT_ID,
                "secret": OIDC_CLIENT_SECRET,
                "settings": {"server_url": OIDC_SERVER_URL},
            }
        ],
    },
}
for _provider, _client in (("github", GITHUB_CLIENT_ID), ("openid_connect", OIDC_CLIENT_ID)):
    if not _client:
        del SOCIALACCOUNT_PROVIDERS[_provider]
# Both providers verify email addresses, so accounts are matched by them.
SOCIALACCOUNT_EMAIL_AUTHENTICATION = SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
SOCIALACCOUNT_STORE_TOKENS = False

# --- API and monitoring -----------------------------------------------------------------------

API_CALLS_PER_MINUTE = env.int("API_CALLS_PER_MINUTE", 3000)
API_WRONG_TOKENS_PER_MINUTE = env.int("API_WRONG_TOKENS_PER_MINUTE", 30)
METRICS_TOKEN = env.str("METRICS_TOKEN", "")

# --- streams process --------------------------------------------------------------------------

# It reads these variables from its environment; see deploy/streams/settings.py.
STREAMS_URL = env.str("STREAMS_URL", "").rstrip("/")
STREAMS_PORT = env.int("STREAMS_PORT", 8002)
MCP_ENABLED = env.bool("MCP_ENABLED", True)

# --- static files -----------------------------------------------------------------------------

STATIC_URL = "static/"
STATIC_ROOT = Path(env.str("STATIC_ROOT", str(VAR_DIR / "static")))
STATICFILES_DIRS = [
    BASE_DIR / "static",
    # The pictures of the documentation.
    *((f"docs/{name}", BASE_DIR / "docs" / name) for name in ("performance", "screenshots")),
]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

# --- error reports ----------------------------------------------------------------------------

DEFAULT_EXCEPTION_REPORTER_FILTER = "sandboxportal.error_reporting.RedactingReporterFilter"

# --- HTTP headers and cookies -----------------------------------------------------------------

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}
PERMISSIONS_POLICY: dict[str, list[str]] = {
    feature: [] for feature in ("camera", "geolocation", "microphone", "payment", "usb")
}
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
# The gateway reaches the portal over the loopback interface.
SECURE_REDIRECT_EXEMPT = [r"^gateway/"]
if HTTPS:
    # With this prefix, browsers reject the cookie from sibling hosts and over plain HTTP.
    SESSION_COOKIE_NAME = "__Host-sessionid"
    CSRF_COOKIE_NAME = "__Host-csrftoken"
    SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", 31_536_000)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
if TRUSTED_PROXY_COUNT:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# --- logging ----------------------------------------------------------------------------------

LOG_FORMAT = env.str("LOG_FORMAT", "console")
LOG_LEVEL = env.str("LOG_LEVEL", "INFO")
logs.configure_structlog()
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": logs.FORMATTERS,
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
        "django_structlog": {"level": "WARNING" if LOG_FORMAT == "console" else LOG_LEVEL},
    },
}
