"""A deployment for members only, in a real Chromium: the page signs in by code and PKCE at a pool of our own.

The pool stands at another origin over https, as Cognito's does, and is strict in what it takes; that Cognito itself
agrees is not tested here.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from aiohttp import web
from playwright.async_api import Page, Route, expect

from tests.browser.fake_play import FakePlay

POOL = "https://overture-1.auth.example.org"
CLIENT = "7client7"


class MembersPlay(FakePlay):
    """Gives tickets for the token that the pool gave last."""

    def __init__(self) -> None:
        super().__init__(wait_s=0.2, line_s=0.1)
        self.good: set[str] = set()
        self.asked: list[str | None] = []

    async def _config(self, request: web.Request) -> web.Response:
        config = {"socket": f"ws://{request.host}/socket", "ticket": f"http://{request.host}/ticket", "protocol": 1}
        return web.json_response({**config, "members": {"at": POOL, "client": CLIENT}})

    async def _ticket(self, request: web.Request) -> web.Response:
        shown = request.headers.get("authorization")
        self.asked.append(shown)
        if shown is None or shown.removeprefix("Bearer ") not in self.good:
            return web.json_response({"message": "Unauthorized"}, status=401)
        return web.json_response({"ticket": "t", "expires_in": 60})


class Pool:
    """The pool's pages: `authorize`, `token`, `revoke`, `logout`. A code works once, with its verifier."""

    def __init__(self, server: MembersPlay) -> None:
        self.server = server
        self.challenges: dict[str, str] = {}
        self.refreshing: set[str] = set()
        self.calls: list[str] = []
        self.issued = 0
        self.denies = False
        self.trusted = True

    async def __call__(self, route: Route) -> None:
        address = urlsplit(route.request.url)
        asked = {key: values[0] for key, values in parse_qs(address.query or (route.request.post_data or "")).items()}
        self.calls.append(address.path)
        assert asked["client_id"] == CLIENT
        await getattr(self, f"_{address.path.rpartition('/')[2]}")(route, asked)

    async def _authorize(self, route: Route, asked: dict[str, str]) -> None:
        assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
        assert asked["redirect_uri"] == self.server.address + "/"
        self.issued += 1
        code = f"code-{self.issued}"
        self.challenges[code] = asked["code_challenge"]
        back = {"error": "access_denied", "error_description": "Not today"} if self.denies else {"code": code}
        link = f"{asked['redirect_uri']}?{urlencode({**back, 'state': asked['state']})}"
        await route.fulfill(
            content_type="text/html", body=f'<h1>The pool</h1><a href="{link}">I am Ada</a>'.replace("&", "&amp;")
        )

    async def _token(self, route: Route, asked: dict[str, str]) -> None:
        if asked["grant_type"] == "authorization_code":
            hashed = hashlib.sha256(asked["code_verifier"].encode()).digest()
            challenge = base64.urlsafe_b64encode(hashed).decode().rstrip("=")
            good = self.challenges.pop(asked["code"], None) == challenge
            good = good and asked["redirect_uri"] == self.server.address + "/"
        else:
            good = asked["refresh_token"] in self.refreshing
        if not good:
            await self._answer(route, {"error": "invalid_grant"}, status=400)
            return
        self.issued += 1
        token: dict[str, Any] = {"access_token": f"token-{self.issued}", "expires_in": 3600}
        if self.trusted:
            self.server.good = {token["access_token"]}
        if asked["grant_type"] == "authorization_code":
            token["refresh_token"] = f"refresh-{self.issued}"
            self.refreshing.add(token["refresh_token"])
        await self._answer(route, token)

    async def _revoke(self, route: Route, asked: dict[str, str]) -> None:
        self.refreshing.discard(asked["token"])
        await self._answer(route, {})

    async def _logout(self, route: Route, asked: dict[str, str]) -> None:
        assert asked["logout_uri"] == self.server.address + "/"
        await route.fulfill(status=302, headers={"location": asked["logout_uri"]})

    async def _answer(self, route: Route, body: dict[str, Any], status: int = 200) -> None:
        await route.fulfill(status=status, json=body, headers={"access-control-allow-origin": "*"})


async def come_in(page: Page, server: MembersPlay) -> Pool:
    pool = Pool(server)
    await page.route(f"{POOL}/**", pool)
    await page.goto(server.address)
    return pool


async def sign_in(page: Page, server: MembersPlay) -> Pool:
    pool = await come_in(page, server)
    await page.get_by_role("link", name="I am Ada").click()
    await page.get_by_role("button", name="Begin").click()
    await expect(page.locator("#log").get_by_text("Ah. I heard the bell.")).to_be_visible()
    return pool


async def change_member(page: Page, key: str, value: int) -> None:
    """Alters what the page keeps of its tokens."""
    await page.evaluate(
        """([key, value]) => {
          const member = JSON.parse(sessionStorage.getItem("overture.member"));
          sessionStorage.setItem("overture.member", JSON.stringify({ ...member, [key]: value }));
        }""",
        [key, value],
    )


async def test_a_visitor_signs_in_and_the_address_keeps_nothing_of_it(page: Page) -> None:
    async with MembersPlay() as server:
        pool = await sign_in(page, server)
        assert page.url == server.address + "/"
        assert pool.calls == ["/oauth2/authorize", "/oauth2/token"]
        assert server.asked == ["Bearer token-2"]
        # The same tab needs no second time.
        await page.reload()
        await expect(page.locator("body[data-connection=open]")).to_be_attached()
        assert pool.calls == ["/oauth2/authorize", "/oauth2/token"]


async def test_a_token_at_its_end_is_renewed_without_a_word(page: Page) -> None:
    async with MembersPlay() as server:
        pool = await sign_in(page, server)
        await change_member(page, "until", 0)
        await server.cut()
        await expect(page.locator("body[data-connection=lost]")).to_be_attached()
        await expect(page.locator("body[data-connection=open]")).to_be_attached()
        assert pool.calls[2:] == ["/oauth2/token"]
        # The pool gives no second refresh token: the first one must have been kept.
        assert "refresh-2" in await page.evaluate("sessionStorage.getItem('overture.member')")


async def test_who_is_known_no_more_signs_in_again(page: Page) -> None:
    async with MembersPlay() as server:
        pool = await sign_in(page, server)
        pool.refreshing.clear()
        server.good.clear()
        # As if it had been issued long ago: only then may it have been taken back.
        await change_member(page, "since", 0)
        await server.cut()
        await page.get_by_role("link", name="I am Ada").click(timeout=15_000)
        await expect(page.locator("body[data-connection=open]")).to_be_attached()
        assert page.url == server.address + "/"


async def test_signing_out_forgets_the_story_and_the_member(page: Page) -> None:
    async with MembersPlay() as server:
        pool = await sign_in(page, server)
        await expect(page.locator("body[data-connection=open]")).to_be_attached()
        assert await page.evaluate("localStorage.getItem('overture.session')")
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_role("link", name="I am Ada")).to_be_visible()
        assert pool.calls[2:] == ["/oauth2/revoke", "/logout", "/oauth2/authorize"]
        assert not pool.refreshing
        await page.get_by_role("link", name="I am Ada").click()
        await expect(page.locator("body[data-connection=open]")).to_be_attached()
        assert (
            len(await page.evaluate("Object.keys(localStorage).filter((key) => key.startsWith('overture.story.'))"))
            <= 1
        )
        assert server.hellos[-1] is None, "the next one came into the story of the one before"


async def test_a_refusal_is_said_and_not_tried_in_circles(page: Page) -> None:
    async with MembersPlay() as server:
        pool = await come_in(page, server)
        pool.denies = True
        await page.goto(server.address)
        await page.get_by_role("link", name="I am Ada").click()
        await expect(page.locator("#connection")).to_contain_text("You were not signed in: Not today.")
        calls = len(pool.calls)
        pool.denies, pool.trusted = False, False
        await page.get_by_role("button", name="Reload").click()
        await page.get_by_role("link", name="I am Ada").click()
        # Signed in, and still not let in: to go to the pool again would change nothing.
        await expect(page.locator("#connection")).to_contain_text("this deployment does not let you in")
        assert pool.calls[calls:] == ["/oauth2/authorize", "/oauth2/token"]


async def test_a_code_that_this_tab_did_not_ask_for_is_not_taken(page: Page) -> None:
    async with MembersPlay() as server:
        pool = Pool(server)
        await page.route(f"{POOL}/**", pool)
        await page.goto(f"{server.address}/?code=another&state=another")
        await expect(page.get_by_role("link", name="I am Ada")).to_be_visible()
        assert pool.calls == ["/oauth2/authorize"]


async def test_a_house_for_everybody_loads_nothing_of_it(page: Page) -> None:
    async with FakePlay(wait_s=0.2, line_s=0.1) as server:
        loaded: list[str] = []
        page.on("request", lambda request: loaded.append(urlsplit(request.url).path))
        await page.goto(server.address)
        await expect(page.locator("body[data-connection=open]")).to_be_attached()
        assert "/session/session.js" in loaded
        assert "/session/sign_in.js" not in loaded
        await expect(page.get_by_role("button", name="Sign out")).to_have_count(0)
