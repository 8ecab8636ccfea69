"""How does the web process start: both web rooms behind one origin?"""

import gc
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette

from dashboard_api import app as dashboard_app
from dashboard_api.config import DashboardConfig
from deploy.admin.app import AdminConfig, create_admin
from deploy.admin.health import Readiness
from deploy.admin.pack_folder import PackFolder
from deploy.case_actions import next_actions
from deploy.front import Room, create_front, dependencies_of
from deploy.identity import Identity, identity_of
from deploy.local.centre import ANY_HOST
from deploy.memory import keep_freed_memory
from deploy.personal_keys import key_ring
from deploy.positions import GROUP
from deploy.settings import Settings
from deploy.site_folder import SiteFolder
from ingest.gateway import app as ingest_app
from schemas.personal import KeyRing
from schemas.site import Site
from streams.repair.history import Places

WEB_PORT = 8080
"""Where the web listens when nobody says otherwise."""

GC_ALLOCATIONS = 50_000
"""Allocations between two runs of the garbage collector, as in the workers."""

STOP_GRACE_S = 5
"""How long requests may take to end when the web process is told to stop; then their connections are closed."""


def web(settings: Settings) -> None:
    """Runs `ingest` and `dashboard_api` behind one origin until a signal comes."""
    kafka, database_url = settings.addresses()
    site_folder = SiteFolder(settings.site)
    site_folder.watch()
    port = settings.port or WEB_PORT
    identity = identity_of(settings, port, site_folder.current, _now)
    origin = f"http://{ANY_HOST.get(settings.host, settings.host)}:{port}"

    def admin(readiness: Readiness) -> FastAPI:
        return create_admin(
            AdminConfig(
                pack=PackFolder(settings.site, settings.data_dir),
                loaded=lambda: site_folder.loaded,
                problem=lambda: site_folder.problem,
                places=Places(
                    kafka=kafka, database_url=database_url, group=GROUP, topic_prefix=settings.topic_prefix
                ),
                trust=None if identity is None else identity.client,
                public_url=origin if identity is None else identity.public_url,
                address=origin,
                readiness=readiness,
                own_issuer=settings.oidc_issuer is None,
            )
        )

    serve_web(
        web_app(
            kafka,
            database_url,
            site_folder.current,
            settings.topic_prefix,
            identity,
            key_ring(settings),
            admin=admin,
        ),
        host=settings.host,
        port=port,
        log_level=settings.log_level,
    )


def web_app(
    kafka: str,
    database_url: str,
    current_site: Callable[[], Site],
    topic_prefix: str,
    identity: Identity | None = None,
    ring: KeyRing | None = None,
    *,
    admin: Callable[[Readiness], FastAPI] | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Starlette:
    """Both rooms as one app. Without `identity` nobody can sign in, and without `ring` nothing personal is taken.

    `admin` makes the administrator's app; without it there is none.
    """
    client = None if identity is None else identity.client
    ingest = ingest_app.create_app(
        ingest_app.IngestConfig(
            kafka=kafka, topic_prefix=topic_prefix, current_site=current_site, now=now, trust=client, ring=ring
        )
    )
    dashboard = dashboard_app.create_app(
        DashboardConfig(
            database_url=database_url,
            current_site=current_site,
            now=now,
            trust=client,
            provider=client,
            public_url="" if identity is None else identity.public_url,
            next_actions=next_actions,
            key_ring=ring,
        )
    )

    async def ingest_readiness() -> Mapping[str, Mapping[str, Any]]:
        return (await ingest_app.readiness(ingest))["dependencies"]

    async def dashboard_readiness() -> Mapping[str, Mapping[str, Any]]:
        return await dashboard_app.readiness(dashboard)

    rooms = Room(ingest, ingest_readiness), Room(dashboard, dashboard_readiness)
    made = None if admin is None else admin(partial(dependencies_of, *rooms, identity))
    return create_front(*rooms, identity, made)


def serve_web(app: Starlette, *, host: str, port: int, log_level: str) -> None:
    """Serves the app until a signal comes."""
    keep_freed_memory()
    # A large answer is thousands of objects that all end with it: collecting among them finds nothing.
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS, 20, 20)
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level=log_level.lower(),
        access_log=False,
        loop="uvloop",
        timeout_graceful_shutdown=STOP_GRACE_S,
        server_header=False,
        **dashboard_app.SERVER_OPTIONS,
    )


def _now() -> datetime:
    return datetime.now(UTC)
