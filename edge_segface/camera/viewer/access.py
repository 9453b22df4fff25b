"""Who may open the page."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from edge_segface.camera.viewer.address import is_loopback

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send


class AccessControl:
    """Middleware that passes allowed requests to the app and answers the others itself.

    Without a token the page is served on loopback: a request must name this machine, so that a site whose own name
    resolves to 127.0.0.1 (DNS rebinding) cannot read it. With a token, which other addresses need, a request must carry
    it: in the URL the first time, then in a cookie.
    """

    def __init__(self, app: ASGIApp, token: str | None, cookie: str) -> None:
        self._app, self._token, self._cookie = app, token, cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.requests import Request

        if scope["type"] != "http":
            return
        response = self._check_host(Request(scope)) if self._token is None else self._check_token(Request(scope))
        await (response or self._app)(scope, receive, send)

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
            redirect.set_cookie(self._cookie, self._token, httponly=True, samesite="strict")
            return redirect
        if self._matches(request.cookies.get(self._cookie)):
            return None
        return PlainTextResponse("open this page with the address that was printed, including its token", 401)

    def _matches(self, given: str | None) -> bool:
        return given is not None and hmac.compare_digest(given.encode(), (self._token or "").encode())
