"""Sign in, sign up, sign out."""

from starlette.responses import Response

from tollway.errors import Forbidden, InvalidRequest, TollwayError, Unauthorized
from tollway.people.passwords import LENGTH_MAX, LENGTH_MIN
from tollway.web.forms import Form, read_form
from tollway.web.frame import Visit

_OPEN = ("Sign up", "You get an account of your own.")
_WORDS = {
    "first_owner": ("You are the first", "Choose how you sign in. You will be the owner of this installation."),
    "invitation": ("You are invited", "Choose how you sign in."),
    "reset": ("A new password", "You will be signed out everywhere else."),
}


async def sign_in_form(visit: Visit) -> Response:
    if visit.session is not None:
        return visit.redirect(_next(visit))
    return await _sign_in_page(visit)


async def sign_in(visit: Visit) -> Response:
    try:
        form = await read_form(visit)
    except Forbidden as error:
        if visit.session is None or error.code != "form_too_old":
            raise
        return visit.redirect(_next(visit))  # signed in meanwhile, in another tab
    try:
        token = await visit.services.people.sign_in(
            form.text("email"), form.secret("password"), visit.address, old_token=visit.session_token
        )
    except TollwayError as error:
        return await _sign_in_page(visit, error=error, email=form.text("email"))
    return visit.signed(token, _next(visit))


async def sign_out(visit: Visit) -> Response:
    await read_form(visit)
    if visit.session_token is not None:
        await visit.services.people.sign_out(visit.session_token)
    return visit.signed_out("/")


async def sign_up_form(visit: Visit) -> Response:
    _refuse_closed(visit)
    return _sign_up_page(visit, *_OPEN)


async def sign_up(visit: Visit) -> Response:
    _refuse_closed(visit)
    form = await read_form(visit)
    return await _signed_up(visit, form, None, _OPEN)


async def welcome_form(visit: Visit) -> Response:
    """Where a one-time link leads. Looking does not use it up: programs look at links, too."""
    link = await visit.services.people.link(visit.request.path_params["token"])
    return _sign_up_page(visit, *_WORDS[link.purpose], purpose=link.purpose)


async def welcome(visit: Visit) -> Response:
    form = await read_form(visit)
    token: str = visit.request.path_params["token"]
    link = await visit.services.people.link(token)
    if link.purpose == "invitation" and visit.services.settings.signup == "closed":
        raise _closed()
    return await _signed_up(visit, form, token, _WORDS[link.purpose], purpose=link.purpose)


async def _signed_up(visit: Visit, form: Form, token: str | None, words: tuple[str, str], *, purpose: str = "") -> Response:
    email, password = form.text("email"), form.secret("password")
    try:
        if password != form.secret("again"):
            raise InvalidRequest("The two passwords differ.", param="again")
        session = await visit.services.people.sign_up(email, password, visit.address, token=token)
    except InvalidRequest as error:
        if error.status != 400:
            raise
        return _sign_up_page(visit, *words, purpose=purpose, error=error, email=email)
    return visit.signed(session, "/keys")


def _sign_up_page(
    visit: Visit, title: str, text: str, *, purpose: str = "", error: TollwayError | None = None, email: str = ""
) -> Response:
    return visit.render(
        "welcome.html",
        secret=True,
        title=title,
        text=text,
        purpose=purpose,
        error=error,
        email=email[:300],
        length_min=LENGTH_MIN,
        length_max=LENGTH_MAX,
    )


async def _sign_in_page(visit: Visit, *, error: TollwayError | None = None, email: str = "") -> Response:
    response = visit.render(
        "signin.html",
        secret=True,
        next_path=_next(visit),
        error=error,
        email=email[:300],
        signup=visit.services.settings.signup,
        has_owner=await visit.services.people.has_owner(),
    )
    if isinstance(error, Unauthorized):
        response.status_code = 400  # 401 would ask the browser for a kind of authentication that pages do not have
    return response


def _next(visit: Visit) -> str:
    """The page of ours to go on to: a path and nothing that a browser could take for another host."""
    path = visit.request.query_params.get("next", "")[:2000]
    safe = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable() and path.isascii()
    return path if safe else "/keys"


def _refuse_closed(visit: Visit) -> None:
    if visit.services.settings.signup != "open":
        raise _closed()


def _closed() -> Forbidden:
    return Forbidden("Sign-up is closed here. Ask whoever runs this service.", code="signup_closed")
