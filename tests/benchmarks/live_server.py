"""What do live clients connect to? One API process, or a bare FastAPI app that broadcasts the same bytes.

`live_server.py ours DATABASE_URL PORT` prints a token for each person as a line of JSON, then serves.
`live_server.py bare PORT` tells clients of `/live?scope=N` the N-th text of each list that comes over `/tell`.
"""

import contextlib
import sys

import msgspec
import uvicorn
from fastapi import FastAPI, WebSocket
from starlette.websockets import WebSocketDisconnect

from dashboard_api.app import SERVER_OPTIONS, create_app
from dashboard_api.config import Bounds, DashboardConfig
from deploy.case_actions import next_actions
from deploy.web import serve_web
from tests.dashboard.case_centre import SITE, Issuer

CLIENTS_MAX = 20_000


def ours(database_url: str, port: int) -> None:
    """The dashboard alone, as `ioc run web` serves it."""
    issuer = Issuer()
    sys.stdout.buffer.write(msgspec.json.encode({person: issuer.token(person) for person in SITE.people}) + b"\n")
    sys.stdout.flush()
    config = DashboardConfig(
        database_url=database_url,
        current_site=lambda: SITE,
        bounds=Bounds(clients_max=CLIENTS_MAX),
        trust=issuer,
        next_actions=next_actions,
    )
    serve_web(create_app(config), host="127.0.0.1", port=port, log_level="WARNING")


def bare(port: int) -> None:
    """The broadcast that FastAPI's own documentation shows."""
    app = FastAPI()
    clients: dict[WebSocket, int] = {}

    @app.websocket("/live")
    async def live(websocket: WebSocket, scope: int) -> None:
        await websocket.accept()
        await websocket.send_text("{}")
        clients[websocket] = scope
        try:
            while True:
                await websocket.receive_text()
        except WebSocketDisconnect:
            del clients[websocket]

    @app.websocket("/tell")
    async def tell(websocket: WebSocket) -> None:
        await websocket.accept()
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                texts: list[str] = msgspec.json.decode(await websocket.receive_text())
                for client, scope in list(clients.items()):
                    if texts[scope]:
                        await client.send_text(texts[scope])

    @app.get("/readyz")
    async def ready() -> dict[str, str]:
        return {}

    options = {name: value for name, value in SERVER_OPTIONS.items() if name not in {"ws", "ws_max_size"}}
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=port,
        log_level="warning",
        access_log=False,
        loop="uvloop",
        **options,
    )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["ours", url, port]:
            ours(url, int(port))
        case ["bare", port]:
            bare(int(port))
        case _:
            sys.exit(__doc__)
