"""Routes past FastAPI: what is asked most, and answered in less time than FastAPI takes to prepare it."""

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send


class DirectRoute(APIRoute):
    """A route whose endpoint takes the request, reads it and returns the response.

    FastAPI declares no parameters for it and resolves no dependencies, those of a router or of the app neither. What
    its documentation says is for the route to say, in `openapi_extra`.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the endpoint answer a request of a method that the route takes."""
        if scope["method"] in (self.methods or ()):
            response = await self.endpoint(Request(scope, receive, send))
            await response(scope, receive, send)
        else:
            await super().handle(scope, receive, send)
