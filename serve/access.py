"""Who is let in: everybody, or whoever has the API key where one is set."""

import os
import secrets
from contextlib import suppress

from fastapi import Depends, Request

from colorgan.web.problems import Problem

API_KEY = "COLORGAN_API_KEY"


def check_key(request: Request) -> None:
    """Let in who has the key, where there is one; raises Problem 401."""
    expected = os.environ.get(API_KEY, "")
    if not expected:
        return
    given = request.headers.get("x-api-key", "")
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        given = token
    # Starlette reads headers as Latin-1, whatever they are: so they become the bytes again that the
    # client sent. Those are UTF-8 from most clients, and Latin-1 from some.
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


# The dependencies of a route that wants the API key.
GUARDED = (Depends(check_key),)
