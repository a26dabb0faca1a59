"""How answers and errors are written: as one JSON object, or as a stream of events."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable

from aiohttp import web

from hfllm.serving.completions import END_OF_STREAM, Completion, event
from hfllm.serving.errors import ApiError
from hfllm.serving.rows import Piece

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
RETRY = {"Retry-After": "1"}
UNFINISHED = {
    "late": "the request waited as long as a request may take; try again later",
    "closing": "the server is ending",
    "failed": "the model failed on this batch; the server's output says why",
}


def checked(piece: Piece) -> Piece:
    """The piece, unless it says that its answer will not be finished."""
    if piece.finish in UNFINISHED:
        status = 500 if piece.finish == "failed" else 503
        raise ApiError(UNFINISHED[piece.finish], status=status, code=piece.finish)
    return piece


async def stream(
    request: web.Request, completion: Completion, pieces: asyncio.Queue[Piece], usage: bool
) -> web.StreamResponse:
    """Write pieces as they come; an error before the first one is an ordinary answer."""
    completion.take(checked(await pieces.get()))
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
    )
    await response.prepare(request)
    try:
        await response.write(b"".join(map(event, completion.first_chunks())))
        await response.write(b"".join(map(event, completion.chunks(completion.pieces[0]))))
        while not completion.is_whole:
            piece = checked(await pieces.get())
            completion.take(piece)
            await response.write(b"".join(map(event, completion.chunks(piece))))
        if usage:
            await response.write(event(completion.usage_chunk()))
        await response.write(END_OF_STREAM)
    except ApiError as error:
        await response.write(event(error.body()))
    except BaseException:  # out of time, or a mistake of ours: no other answer may follow the begun
        if request.transport is not None:
            request.transport.abort()
        raise
    return response


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error in OpenAI's shape; one of ours is printed, and not told to the client."""
    try:
        return await handler(request)
    except ApiError as error:
        found = error
    except web.RequestPayloadError as error:
        found = ApiError(f"the body cannot be read: {' '.join(str(error).split())[:200]}")
    except web.HTTPRequestEntityTooLarge as error:
        found = ApiError(f"the body is too large: {error.text}", status=413)
    except web.HTTPException as error:
        found = ApiError(f"{request.method} {request.path[:100]}: {error.reason}", error.status)
    except (ConnectionError, asyncio.CancelledError):
        raise
    except Exception:  # noqa: BLE001
        traceback.print_exc()
        found = ApiError("the server failed; its output says why", status=500)
    headers = RETRY if found.status in (429, 503) else None
    return web.json_response(found.body(), status=found.status, headers=headers)
