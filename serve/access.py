"""Access control: if an API key is set, requests must carry it; otherwise the API is open."""

import os
import secrets
from contextlib import suppress

from fastapi import Depends, Request

from colorgan.web.problems import Problem

API_KEY = "COLORGAN_API_KEY"


def check_key(request: Request) -> None:
    """Check the API key of a request, if the service has one; raises Problem 401."""
    expected = os.environ.get(API_KEY, "")
    if not expected:
        return
    given = request.headers.get("x-api-key", "")
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        given = token
    # Starlette always decodes headers as Latin-1. Encoding restores the bytes that the client sent,
    # which are UTF-8 from most clients and Latin-1 from some.
    sent = given.encode("latin-1")
    spellings = [os.fsencode(expected)]
    with suppress(UnicodeEncodeError):
        spellings.append(expected.encode("latin-1"))
    if not any(secrets.compare_digest(sent, spelling) for spelling in spellings):
        raise Problem(
            401,
            "send the API key as `Authorization: Bearer KEY` or `X-API-Key: KEY`",
            {"WWW-Authenticate": "Bearer"},
        )


# The dependencies of a route that requires the API key.
GUARDED = (Depends(check_key),)
