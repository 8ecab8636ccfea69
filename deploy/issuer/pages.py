"""What does somebody see who signs in?

Plain pages without a script, in Vietnamese and English. The policy allows what they need and nothing else.
"""

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import NamedTuple

STYLE = (files("deploy.issuer") / "sign_in.css").read_bytes()

LANGUAGES = ("vi", "en")

_TEXTS: Mapping[str, Mapping[str, str]] = {
    "vi": {
        "sign_in": "Đăng nhập",
        "person": "Tên đăng nhập",
        "password": "Mật khẩu",
        "submit": "Đăng nhập",
        "wrong": "Tên đăng nhập hoặc mật khẩu không đúng.",
        "wait": "Đã sai nhiều lần. Hãy thử lại sau {seconds} giây.",
        "busy": "Đang có quá nhiều người đăng nhập. Hãy thử lại sau ít giây.",
        "sign_out": "Đăng xuất",
        "sign_out_ask": "Kết thúc phiên đăng nhập trên máy này?",
        "signed_out": "Đã đăng xuất.",
        "cannot": "Không thể đăng nhập",
        "other": "English",
    },
    "en": {
        "sign_in": "Sign in",
        "person": "User name",
        "password": "Password",
        "submit": "Sign in",
        "wrong": "The user name or the password is not right.",
        "wait": "Too many failed attempts. Try again in {seconds} s.",
        "busy": "Too many people are signing in. Try again in a few seconds.",
        "sign_out": "Sign out",
        "sign_out_ask": "End the sign-in on this machine?",
        "signed_out": "You have signed out.",
        "cannot": "This sign-in cannot go on",
        "other": "Tiếng Việt",
    },
}


class Page(NamedTuple):
    """A page, and the headers that it is served with."""

    html: str
    headers: dict[str, str]


def policy(form_targets: Sequence[str] = ()) -> str:
    """The content policy. Forms lead to this origin, and from there on to these."""
    targets = " ".join(("'self'", *form_targets))
    return (
        f"default-src 'none'; style-src 'self'; img-src 'self' data:; form-action {targets}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )


def language_of(asked: str | None, accept_language: str, own: Sequence[str]) -> str:
    """The language that is asked for, else the first that the browser wants and we have, else the site's own."""
    wanted = [asked or "", *(part.split(";")[0].strip()[:2] for part in accept_language.split(",")), *own]
    return next((word for word in wanted if word in LANGUAGES), LANGUAGES[0])


def sign_in_page(
    *,
    language: str,
    site_name: str,
    other_language: str,
    person: str = "",
    problem: str | None = None,
    wait_s: int = 0,
    form_targets: Sequence[str] = (),
) -> Page:
    """The form. It is sent to the address that it was asked from; `other_language` is that one in the other language.

    `problem` is `wrong`, `wait` or `busy`.
    """
    text = _TEXTS[language]
    alert, marks = "", ""
    if problem is not None:
        alert = f'<p role="alert" id="problem">{escape(text[problem].format(seconds=wait_s))}</p>'
        marks = ' aria-invalid="true" aria-describedby="problem"' if problem == "wrong" else ""
    # Whoever has given the name already goes on with the password.
    first, second = ("", " autofocus") if person else (" autofocus", "")
    body = f"""
<h1>{escape(text["sign_in"])}</h1>
{alert}
<form method="post" accept-charset="utf-8">
<label for="person">{escape(text["person"])}</label>
<input id="person" name="person" value="{escape(person)}" autocomplete="username" autocapitalize="none"
 spellcheck="false" maxlength="128" required{first}{marks}>
<label for="password">{escape(text["password"])}</label>
<input id="password" name="password" type="password" autocomplete="current-password" maxlength="1024"
 required{second}{marks}>
<button type="submit">{escape(text["submit"])}</button>
</form>
<p class="language"><a href="{escape(other_language)}" lang="{_other(language)}">{escape(text["other"])}</a></p>"""
    return _page(language, f"{text['sign_in']} – {site_name}", site_name, body, policy(form_targets))


def sign_out_page(*, language: str, site_name: str, done: bool) -> Page:
    """Asks whether to sign out, or says that it is done."""
    text = _TEXTS[language]
    body = f'<h1>{escape(text["sign_out"])}</h1><p role="status">{escape(text["signed_out"])}</p>'
    if not done:
        body = f"""<h1>{escape(text["sign_out"])}</h1><p>{escape(text["sign_out_ask"])}</p>
<form method="post"><button type="submit">{escape(text["sign_out"])}</button></form>"""
    return _page(language, text["sign_out"], site_name, body, policy())


def refusal_page(*, language: str, site_name: str, detail: str) -> Page:
    """Says what is wrong with a request that nobody can be sent back from."""
    title = _TEXTS[language]["cannot"]
    body = f'<h1>{escape(title)}</h1><p role="alert" lang="en">{escape(detail)}</p>'
    return _page(language, title, site_name, body, policy())


def _other(language: str) -> str:
    return next(other for other in LANGUAGES if other != language)


def _page(language: str, title: str, site_name: str, body: str, content_policy: str) -> Page:
    html = f"""<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/oidc/sign_in.css">
</head>
<body>
<main>
<p class="site">{escape(site_name)}</p>
{body.strip()}
</main>
</body>
</html>
"""
    headers = {
        "Content-Security-Policy": content_policy,
        "X-Content-Type-Options": "nosniff",
        # Not `no-referrer`: a form would then be sent with `Origin: null`, and the origin is what is checked.
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
    }
    return Page(html, headers)
