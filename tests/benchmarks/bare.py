"""What could a Python server take in at best? `bare.py PORT` parses a request's body and does nothing else."""

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def take(request: Request) -> JSONResponse:
    """Answers with how much there was to parse."""
    return JSONResponse({"accepted": len(await request.json())}, status_code=202)


if __name__ == "__main__":
    uvicorn.run(
        Starlette(routes=[Route("/v1/events", take, methods=["POST"])]),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_level="warning",
        access_log=False,
        loop="uvloop",
        http="httptools",
        server_header=False,
    )
