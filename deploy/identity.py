"""Who signs people in: an issuer elsewhere, or the one in this process?"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from msgspec import Struct
from starlette.applications import Starlette
from starlette.routing import Mount

from deploy import secret_file
from deploy.issuer import app as issuer_app
from deploy.issuer.app import IssuerConfig, create_issuer
from deploy.issuer.demo import demo_passwords
from deploy.issuer.passwords import Passwords
from deploy.issuer.signing import ACCESS_TYPE, KeyRing, access_claims
from deploy.local.centre import ANY_HOST
from deploy.oidc_client import OidcClient, local_http
from deploy.settings import Settings
from deploy.site import SHIPPED, load_site
from schemas.errors import OperatorError
from schemas.site import Site

ADDRESS_FILE = "issuer.url"
"""The local issuer's name, as the web process that runs on the data folder has it in its tokens."""

TOKEN_HOURS_MAX = 24 * 31

_log = logging.getLogger("ioc.issuer")


class Identity(Struct, frozen=True, kw_only=True):
    """What the web process needs to know who somebody is. `issuer` is the app to mount at `/oidc`, if it is ours."""

    client: OidcClient
    public_url: str
    issuer: Starlette | None = None


def identity_of(
    settings: Settings, port: int, current_site: Callable[[], Site], now: Callable[[], datetime]
) -> Identity | None:
    """The issuer that the settings name, else our own; None where that cannot be and nobody has to sign in.

    Raises OperatorError.
    """
    public_url = settings.public_url or f"http://{ANY_HOST.get(settings.host, settings.host)}:{port}"
    if settings.oidc_issuer is not None:
        client = OidcClient(
            issuer=settings.oidc_issuer,
            client_id=settings.oidc_client_id,
            client_secret=settings.oidc_client_secret,
            now=now,
        )
        return Identity(client=client, public_url=public_url)
    folder = secrets_folder(settings)
    config = IssuerConfig(public_url=public_url, secrets_folder=folder, current_site=current_site, now=now)
    try:
        issuer = create_issuer(config)
        secret_file.write(folder / ADDRESS_FILE, config.issuer.encode())
    except OperatorError as error:
        if current_site().people:
            raise
        _log.warning("nobody can sign in, and nobody has to: %s", error)
        return None
    return Identity(client=local_client(config, issuer), public_url=public_url, issuer=issuer)


def local_client(config: IssuerConfig, issuer: Starlette) -> OidcClient:
    """The client of the issuer in this process."""
    mounted = Starlette(routes=[Mount(issuer_app.PATH, issuer)])
    return OidcClient(
        issuer=config.issuer,
        client_id=issuer_app.CLIENT_ID,
        open_http=local_http(mounted, config.public_url),
        now=config.now,
    )


def secrets_folder(settings: Settings) -> Path:
    """Where this machine's secrets are."""
    return settings.data_dir / secret_file.FOLDER


def token(settings: Settings, person: str, hours: float, now: datetime) -> str:
    """A token of the local issuer. Raises OperatorError."""
    _check_declared(settings, person)
    if settings.oidc_issuer is not None:
        raise OperatorError("Tokens come from the issuer that IOC_OIDC_ISSUER names.", "Get one there.")
    if not 0 < hours <= TOKEN_HOURS_MAX:
        raise OperatorError(f"A token cannot last {hours:g} hours.", f"Ask for up to {TOKEN_HOURS_MAX}.")
    folder = secrets_folder(settings)
    if settings.public_url is not None:
        issuer = f"{settings.public_url}{issuer_app.PATH}"
    else:
        try:
            issuer = secret_file.read(folder / ADDRESS_FILE).decode()
        except OSError:
            raise OperatorError(
                f"No web process has run on {settings.data_dir} yet.", "Start one, or set IOC_PUBLIC_URL."
            ) from None
    claims = access_claims(issuer, issuer_app.CLIENT_ID, person, now, timedelta(hours=hours))
    return KeyRing(folder).key.sign(claims, type_=ACCESS_TYPE)


def set_password(settings: Settings, person: str, password: str) -> None:
    """Sets a person's password for the local issuer. Raises OperatorError."""
    _check_declared(settings, person)
    Passwords(secrets_folder(settings)).set(person, password)


def sign_in_lines(settings: Settings, origin: str) -> list[str]:
    """What a person who starts a centre has to know about signing in. Raises OperatorError, SiteError."""
    people = load_site(settings.site).people
    if not people:
        return ["No sign-in: whoever reaches it may do everything, for the site pack declares no people."]
    if settings.oidc_issuer is not None:
        return [f"Sign in at {origin}/signin, with {settings.oidc_issuer}"]
    if settings.site.parent != SHIPPED:
        return [f"Sign in at {origin}/signin; `ioc passwd PERSON` sets a password."]
    passwords = demo_passwords(secrets_folder(settings), list(people))
    width = max(map(len, people))
    rows = [
        f"  {id_.ljust(width)}  {passwords.get(id_, '(set by `ioc passwd`)').ljust(12)}  {', '.join(person.roles)}"
        for id_, person in people.items()
    ]
    return [f"Sign in at {origin}/signin as one of these examples:", *rows]


def _check_declared(settings: Settings, person: str) -> None:
    people = load_site(settings.site).people
    if person not in people:
        known = ", ".join(people) if people else "nobody"
        raise OperatorError(f"The site pack {settings.site} has no person {person!r}.", f"It declares {known}.")
