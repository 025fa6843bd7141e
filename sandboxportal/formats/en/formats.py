"""English formats. Operators compare times with logs, so they see seconds and the time zone."""

DATETIME_FORMAT = "j M Y, H:i:s T"
