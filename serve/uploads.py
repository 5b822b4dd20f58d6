"""Reads the photograph of a request within its limits, and decodes it."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from fastapi import Request
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser

from colorgan.errors import ImageRejected
from colorgan.images.decoding import Photograph, decode
from colorgan.web.problems import Problem
from serve.parameters import FILE

_FORM_BYTES = 10_000  # limit for the headers and boundaries of a form's parts
_FORM_PARTS = 16


@dataclass(frozen=True)
class Upload:
    """A request's body.

    Attributes:
        data: the photograph's file.
        fields: names and values of the form's other fields, in order; empty without a form.
    """

    data: bytes
    fields: tuple[tuple[str, str], ...] = ()


async def read_upload(
    request: Request, max_bytes: int, arrived: Callable[[int], None] = lambda size: None
) -> Upload:
    """Read the photograph's file from the multipart field `file`, or from the whole body.

    Args:
        request: request whose body has not been read.
        max_bytes: maximum size of the file.
        arrived: called with the size of each received chunk, in bytes; may raise Problem.

    Raises:
        Problem: 400 if the file is empty or the form is malformed, 413 if it is too large, 415 for
            an unsupported type, 422 if the form does not have exactly one field `file`.
        ClientDisconnect: the client has disconnected.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        upload = await _read_form(request, max_bytes, arrived)
    elif media_type.startswith("image/") or media_type in ("", "application/octet-stream"):
        stream = _limited(request, max_bytes, arrived)
        upload = Upload(b"".join([chunk async for chunk in stream]))
    else:
        raise Problem(
            415,
            f"{media_type} is not supported: send multipart/form-data with a field file, or the "
            "photograph as the body with its image/… type",
        )
    if not upload.data:
        raise Problem(400, "the photograph is empty")
    return upload


async def _read_form(request: Request, max_bytes: int, arrived: Callable[[int], None]) -> Upload:
    stream = _limited(request, max_bytes, arrived, _FORM_BYTES)
    parser = MultiPartParser(
        request.headers,
        stream,
        max_files=_FORM_PARTS,
        max_fields=_FORM_PARTS,
        max_part_size=_FORM_BYTES,
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:
        detail = getattr(error, "message", "the boundary is missing")
        raise Problem(400, f"the form cannot be read: {detail}") from None
    try:
        return await _photograph_and_fields(form, max_bytes)
    finally:
        await form.close()


async def _photograph_and_fields(form: FormData, max_bytes: int) -> Upload:
    photographs, fields = [], []
    for name, value in form.multi_items():
        if isinstance(value, str):
            if name == FILE:
                raise Problem(
                    422,
                    f"{FILE}: the field `{FILE}` holds text; send the photograph with a file name, "
                    f"as curl -F {FILE}=@photograph.jpg does",
                )
            fields.append((name, value))
        elif name == FILE:
            photographs.append(value)
        else:
            raise Problem(
                422, f"{name}: it is a file; send the photograph in the field `{FILE}`, alone"
            )
    if len(photographs) > 1:
        raise Problem(422, f"{FILE}: the form has {len(photographs)} photographs; send one")
    if not photographs:
        raise Problem(422, f"{FILE}: the form has no file in the field `{FILE}`")
    data = await photographs[0].read()
    if len(data) > max_bytes:
        raise _too_large(max_bytes)
    return Upload(data, tuple(fields))


async def _limited(
    request: Request, max_bytes: int, arrived: Callable[[int], None], extra: int = 0
) -> AsyncGenerator[bytes]:
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > max_bytes + extra:
        raise _too_large(max_bytes)
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes + extra:
            raise _too_large(max_bytes)
        arrived(len(chunk))
        yield chunk


def _too_large(max_bytes: int) -> Problem:
    return Problem(413, f"the photograph has more than {max_bytes:,} bytes")


def decode_photograph(
    data: bytes, max_pixels: int, page: int | None = None, deep: bool = False
) -> Photograph:
    """Decode a photograph as `decode` does; raises Problem 400, 413, 415 or 422."""
    try:
        return decode(data, max_pixels, page, deep)
    except ImageRejected as rejected:
        if rejected.reason == "too many pixels":
            raise Problem(413, f"the photograph has {rejected}") from None
        if rejected.reason in ("several pages", "no such page"):
            words = str(rejected).replace("--page ", "page=")  # the wording of the command line
            raise Problem(422, f"page: {words}") from None
        if rejected.reason == "unsupported format":
            raise Problem(415, f"the photograph cannot be read: {rejected.detail}") from None
        raise Problem(400, f"the photograph cannot be used: {rejected}") from None
