"""How users reach those who run the portal, from `SUPPORT_CONTACT`."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import EmailValidator, URLValidator

_is_email = EmailValidator()
_is_url = URLValidator(schemes=["http", "https"])


def administrator() -> str:
    """Return the words for the portal's administrator, with the contact if there is one."""
    contact = settings.SUPPORT_CONTACT
    return f"your administrator ({contact})" if contact else "your administrator"


def contact_url() -> str:
    """Return the contact as a link; an empty string if there is none."""
    contact = settings.SUPPORT_CONTACT
    return f"mailto:{contact}" if contact and "://" not in contact else contact


def is_valid_contact(contact: str) -> bool:
    """Return whether the text is an email address or an http(s) URL."""
    for validate in (_is_email, _is_url):
        try:
            validate(contact)
        except ValidationError:
            continue
        return True
    return False
