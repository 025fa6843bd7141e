"""The gateway: whether it answers, and with which certificate."""

from __future__ import annotations

from django.conf import settings

from sandboxes.doctor.findings import Findings, error, ok, warning
from sandboxes.gateway import certificate, listening

SEE_DOCS = "docs/gateway.md says how to start it."


def gateway() -> Findings:
    """Connect to the gateway at the host name of a sandbox, and look at its certificate."""
    domain = settings.SANDBOX_DOMAIN
    if not domain:
        yield ok("Sandboxes are reached without a gateway (SANDBOX_DOMAIN is empty).")
        return
    place = f"sbx-check.{domain}:{settings.SANDBOX_GATEWAY_HTTPS_PORT}"
    presented = listening.presented_certificate(f"sbx-check.{domain}")
    if presented is None:
        yield error(f"The gateway doesn't answer at {place}.", SEE_DOCS)
    elif not certificate.covers(presented, domain):
        text = f"The certificate at {place} isn't valid for *.{domain}."
        yield error(text, "Point the name at the gateway, and look into the gateway's log.")
    elif certificate.remaining(presented).days < 0:
        text = f"The certificate at {place} expired on {presented.not_valid_after_utc:%Y-%m-%d}."
        yield error(text, "Renew it, and look into the gateway's log.")
    elif (stored := certificate.read()) and stored != presented:
        text = "The gateway doesn't present the certificate of SANDBOX_GATEWAY_CERTIFICATE."
        yield warning(text, "Look into the gateway's log: it loads new files automatically.")
    else:
        words = f"The certificate at {place} {certificate.expiry(presented)}."
        if certificate.remaining(presented) <= certificate.RENEW_BEFORE:
            yield warning(words, "Renew it.")
        else:
            yield ok(words)
