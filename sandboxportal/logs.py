"""The format of log lines, for people or as one JSON object a line.

Django's settings and gunicorn's configuration use it, which is loaded before them.
"""

from __future__ import annotations

from typing import Any

import structlog
from gunicorn.glogging import Logger  # type: ignore[import-untyped]

_CHAIN: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.ExtraAdder(["request_id", "method", "path", "status", "bytes", "seconds"]),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
FORMATTERS: dict[str, dict[str, Any]] = {
    "console": {
        "()": structlog.stdlib.ProcessorFormatter,
        # With rich installed, the default formatter would log the values of variables.
        "processor": structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        ),
        "foreign_pre_chain": _CHAIN,
    },
    "json": {
        "()": structlog.stdlib.ProcessorFormatter,
        "processors": [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        "foreign_pre_chain": _CHAIN,
    },
}


def configure_structlog() -> None:
    structlog.configure(
        processors=[
            *_CHAIN,
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def gunicorn_logging(level: str) -> dict[str, Any]:
    """Return gunicorn's `logconfig_dict` for JSON."""
    own = {"handlers": ["stderr"], "level": level, "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": FORMATTERS,
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {"gunicorn.error": own, "gunicorn.access": own},
    }


class JSONAccessLogger(Logger):  # type: ignore[misc]
    """Gunicorn's logger, whose access log has fields in place of a text."""

    def access(
        self,
        resp: Any,
        req: Any,  # noqa: ARG002 - gunicorn's signature
        environ: dict[str, Any],
        request_time: Any,
    ) -> None:
        """Log a finished request."""
        if not self.cfg.accesslog:
            return
        sent = {name.lower(): value for name, value in resp.headers}
        fields = {
            "request_id": sent.get("x-request-id"),
            "method": environ["REQUEST_METHOD"],
            # Without the query, which may contain a token.
            "path": environ.get("PATH_INFO", ""),
            "status": resp.status_code,
            "bytes": getattr(resp, "sent", None),
            "seconds": request_time.total_seconds(),
        }
        self.access_log.info("access", extra=fields)
