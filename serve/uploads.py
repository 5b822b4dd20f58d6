"""The photograph in a request: its bytes, within limits, and its pixels."""

from collections.abc import AsyncIterator

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from colorgan.errors import ImageRejected
from colorgan.images.decoding import Photograph, decode
from serve.problems import Problem

_FORM_BYTES = 10_000  # that the headers and boundaries of a form's parts may take


async def read_photograph(request: Request, max_bytes: int) -> bytes:
    """The photograph's file, of the multipart field `file` or of the whole body.

    Raises:
        Problem: 400 there is none, 413 too large, 415 another type, 422 no field `file`.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        data = await _read_field(request, max_bytes)
    elif media_type.startswith("image/") or media_type in ("", "application/octet-stream"):
        data = b"".join([chunk async for chunk in _limited(request, max_bytes)])
    else:
        raise Problem(
            415,
            f"{media_type} is not supported: send multipart/form-data with a field file, or the "
            "photograph as the body with its image/… type",
        )
    if not data:
        raise Problem(400, "the photograph is empty")
    return data


async def _read_field(request: Request, max_bytes: int) -> bytes:
    stream = _limited(request, max_bytes, _FORM_BYTES)
    try:
        form = await MultiPartParser(request.headers, stream, max_files=1, max_fields=8).parse()
    except (MultiPartException, KeyError) as error:
        detail = getattr(error, "message", "the boundary is missing")
        raise Problem(400, f"the form cannot be read: {detail}") from None
    field = form.get("file")
    if not isinstance(field, UploadFile):
        raise Problem(422, "file: the form has no file in the field `file`")
    try:
        data = await field.read()
    finally:
        await form.close()
    if len(data) > max_bytes:
        raise _too_large(max_bytes)
    return data


async def _limited(request: Request, max_bytes: int, extra: int = 0) -> AsyncIterator[bytes]:
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > max_bytes + extra:
        raise _too_large(max_bytes)
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes + extra:
            raise _too_large(max_bytes)
        yield chunk


def _too_large(max_bytes: int) -> Problem:
    return Problem(413, f"the photograph has more than {max_bytes:,} bytes")


def decode_photograph(data: bytes, max_pixels: int) -> Photograph:
    """Decode a photograph; raises Problem 400, 413 or 415."""
    try:
        return decode(data, max_pixels)
    except ImageRejected as rejected:
        if rejected.reason == "too many pixels":
            raise Problem(413, f"the photograph has {rejected}") from None
        if rejected.reason == "unsupported format":
            raise Problem(415, f"the photograph cannot be read: {rejected.detail}") from None
        raise Problem(400, f"the photograph cannot be used: {rejected}") from None
