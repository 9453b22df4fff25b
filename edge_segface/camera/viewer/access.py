"""Who may open the page."""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING

from edge_segface.camera.viewer.address import is_loopback
from edge_segface.camera.viewer.connections import CONNECTION

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEALTH_PATH = "/healthz"
HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(:[0-9]{1,5})?")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}


class AccessControl:
    """Middleware that passes allowed requests to the app and answers the others itself.

    Without a token the page is served on loopback: a request must name this machine, so that a site whose own name
    resolves to 127.0.0.1 (DNS rebinding) cannot read it. With a token, which other addresses need, a request must carry
    it: in the URL the first time, then in a cookie; programs send it as `Authorization: Bearer`. Other sites may link
    to the page, but not load anything from it.
    """

    def __init__(self, app: ASGIApp, token: str | None, cookie: str, *, secure: bool = False) -> None:
        self._app, self._token, self._cookie, self._secure = app, token, cookie, secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.requests import Request

        if scope["type"] != "http":
            return
        refusal = self._check(Request(scope))
        if refusal is None and scope["path"] != HEALTH_PATH and (connection := scope.get(CONNECTION)) is not None:
            connection.trust()
        await (refusal or self._app)(scope, receive, with_headers(send))

    def _check(self, request: Request) -> Response | None:
        from starlette.responses import PlainTextResponse

        hosts = request.headers.getlist("host")
        if len(hosts) != 1 or not HOST.fullmatch(hosts[0]):
            return PlainTextResponse("the Host header is missing or malformed", 400)
        if request.headers.get("upgrade", "").lower() == "websocket":
            return PlainTextResponse("there are no WebSockets here", 403)
        if is_from_another_site(request):
            return PlainTextResponse("another site asked for this", 403)
        if request.url.path == HEALTH_PATH:  # monitors have no token; the answer says whether results come, no more
            return None
        return self._check_host(request) if self._token is None else self._check_token(request)

    def _check_host(self, request: Request) -> Response | None:
        from starlette.responses import PlainTextResponse

        if is_loopback(request.url.hostname or ""):
            return None
        return PlainTextResponse("open this page as localhost", 403)

    def _check_token(self, request: Request) -> Response | None:
        from starlette.responses import PlainTextResponse, RedirectResponse

        assert self._token is not None
        if self._matches(request.query_params.get("token")):
            redirect = RedirectResponse("/", 303)
            redirect.set_cookie(self._cookie, self._token, httponly=True, samesite="strict", secure=self._secure)
            return redirect
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if self._matches(request.cookies.get(self._cookie)) or (scheme == "Bearer" and self._matches(given)):
            return None
        return PlainTextResponse("open this page with the address that was printed, including its token", 401)

    def _matches(self, given: str | None) -> bool:
        return given is not None and hmac.compare_digest(given.encode(errors="replace"), (self._token or "").encode())


def is_from_another_site(request: Request) -> bool:
    """Whether a browser says that another site caused the request, unless somebody followed a link."""
    if request.headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
        return False
    mode, destination = (request.headers.get(f"sec-fetch-{name}") for name in ("mode", "dest"))
    return not (request.method == "GET" and mode == "navigate" and destination == "document")


def with_headers(send: Send) -> Send:
    """Return a `send` that adds the headers which every answer carries."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            more = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await send(message)

    return send_with_headers
