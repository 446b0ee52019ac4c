"""The page that shows and controls the mappings, as static files of this package.

The files need no credentials and hold no data: the page reads everything from the routes under
/v1/, with the key or token that its user enters.
"""

from __future__ import annotations

from hashlib import sha256
from importlib.resources import files

from fastapi import APIRouter, Request
from starlette.responses import Response

PATH = "/console"
_PAGE = "index.html"
_MEDIA_TYPES = {
    "css": "text/css",
    "html": "text/html",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Nothing comes from another host, nothing is inline, and no script writes HTML."""
_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def page() -> APIRouter:
    """Return the page at /console and its files below it."""
    router = APIRouter()
    for file in files(__package__).joinpath("static").iterdir():
        _add_file(router, file.name, file.read_bytes())
    return router


def _add_file(router: APIRouter, name: str, content: bytes) -> None:
    tag = f'"{sha256(content).hexdigest()[:32]}"'
    media_type = _MEDIA_TYPES[name.rpartition(".")[2]]

    @router.get(PATH if name == _PAGE else f"{PATH}/{name}", include_in_schema=False)
    async def send(request: Request) -> Response:
        headers = {**_HEADERS, "ETag": tag}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=media_type)
