"""The wall board in Chromium: login with a key, live updates, no requests to other hosts, readable on a phone."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from barnameh.api import board_parts, keys
from db_utils import DatabaseManager, OperationalDataQueries
from tests.conftest import fresh_database
from tests.support.api import OPERATIONS, Api
from tests.support.api_process import Process, running
from tests.support.browser import MISSING, browser
from tests.support.query_calls import MANUFACTURING

PARTS = ["kpis", "alerts", "machines", "demand", "roster"]


def test_without_a_key_there_is_a_login_and_nothing_else(api: Api) -> None:
    page = api.client.get("/", headers={"cookie": ""})
    assert 'action="/login"' in page.text
    assert "Sample Manufacturing" not in page.text
    assert api.client.get("/board/alerts").status_code == 401
    assert api.client.get("/board/stream").status_code == 401
    wrong = api.client.post("/login", data={"key": "bn_wrong"})
    assert wrong.status_code == 401
    assert 'role="alert"' in wrong.text


def test_a_key_opens_the_board_of_its_organization(api: Api) -> None:
    client = api.client
    answer = client.post("/login", data={"key": api.reader}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    page = client.get("/")
    assert "Sample Manufacturing" in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"(src|href)=\"(https?:)?//", page.text)
    assert not re.search(r"<script>|\son\w+=|\sstyle=", page.text)
    for part in PARTS:
        assert client.get(f"/board/{part}").status_code == 200
    assert client.get("/board/keys").status_code == 404
    assert client.get("/static/board.py").status_code == 404
    assert (
        client.post(
            "/login", data={"key": api.reader}, headers={"origin": "https://evil.example"}
        ).status_code
        == 403
    )
    # The cookie is accepted for the board only.
    assert client.get(f"/v1/organizations/{api.organization_id}/organizations/locations").status_code == 401
    client.post("/logout")
    assert 'action="/login"' in client.get("/").text


def test_names_are_text(api: Api) -> None:
    organization, key = next(iter(api.others.items()))  # whose board has not been opened yet
    path = api.path(OPERATIONS["raise_alert"], organization)
    body = {"title": "<script>alert(1)</script>", "severity": "critical", "alert_type": "t"}
    assert api.client.post(path, json=body, headers={"authorization": f"Bearer {key}"}).status_code == 200
    api.client.post("/login", data={"key": key})
    page = api.client.get("/board/alerts").text
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    api.client.post("/logout")


def test_an_organization_without_anything_has_a_board(empty_database: DatabaseManager) -> None:
    organization = OperationalDataQueries(empty_database).create_organization("Empty", industry="x")
    scope = empty_database.tenant(organization["organization_id"])
    from barnameh.api.board import templates

    for name, make in board_parts.PARTS.items():
        text = templates().get_template(f"parts/{name}.html").render(make(scope))
        assert text.strip()
    assert board_parts.chart({}, {}) is None


# -- in a browser ----------------------------------------------------------------------------------------------

without_browser = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
# Registered before the page runs: violations of its policy.
WATCH = """
    window.refused = [];
    document.addEventListener('securitypolicyviolation', (event) => window.refused.push(event.violatedDirective));
"""


@dataclass
class Wall:
    """A service, its database, and keys of the sample organization and of one with many long names."""

    process: Process
    owner: DatabaseManager
    key: str
    hard: uuid.UUID
    hard_key: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.process.port}/"

    def alert(self, title: str, organization_id: uuid.UUID = MANUFACTURING) -> None:
        OperationalDataQueries(self.owner).raise_alert(
            organization_id, title, severity="critical", alert_type="test"
        )


@pytest.fixture(scope="module")
def wall(server_url: str, seeded_template: str) -> Iterator[Wall]:
    with fresh_database(server_url, seeded_template) as url, DatabaseManager(url) as owner:
        hard = write_hard_organization(owner)
        for organization in (MANUFACTURING, hard):
            keys.make_live(owner, organization)
        made = [
            keys.create(owner, organization, "board", "reader")[0] for organization in (MANUFACTURING, hard)
        ]
        with running(url) as process:
            yield Wall(process, owner, made[0], hard, made[1])


def write_hard_organization(owner: DatabaseManager) -> uuid.UUID:
    """A realistic one: names in two scripts, too long or with HTML characters, many machines and alerts, large numbers."""
    queries, now = (
        OperationalDataQueries(owner),
        dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0),
    )
    organization: uuid.UUID = queries.create_organization(
        "Stahlwerk Südharz & Söhne <Werk 7>", industry="steel", timezone="Europe/Berlin"
    )["organization_id"]
    places = [
        queries.create_location(organization, name, location_type="factory", timezone="Europe/Berlin")[
            "location_id"
        ]
        for name in ("Halle 2: Kaltwalzwerk und Oberflächenveredelung", "کارخانه تهران")
    ]
    machines = [
        queries.create_resource(
            organization,
            f"Walzgerüst-{number:02}-Oberflächenbearbeitungszentrum"
            if number % 5 == 0
            else f"Presse {number}",
            location_id=places[number % 2],
            resource_type="press",
            rated_capacity_per_hour=100,
            capacity_unit="pieces",
        )["resource_id"]
        for number in range(30)
    ]
    kinds = ("production", "breakdown", "production", "maintenance")
    queries.record_events(
        organization,
        [
            {
                "resource_id": machine,
                "event_type": kinds[(number + hour) % 4],
                "time": now - dt.timedelta(hours=hour),
                "duration_minutes": 55,
                **({"quantity": 40, "scrap_quantity": 2} if (number + hour) % 2 == 0 else {}),
            }
            for number, machine in enumerate(machines[:25])
            for hour in range(1, 30)
        ],
    )
    products = ("Blech 4 mm", "Rohr, nahtlos warmgefertigt, DIN EN 10216-2, mit sehr langem Namen", "C", "D")
    queries.record_demand(
        organization,
        [
            {
                "time": now - dt.timedelta(days=day),
                "product_id": product,
                "location_id": places[0],
                "quantity": 4_999_999 - 100_000 * day,
            }
            for day in range(14)
            for product in products
        ],
    )
    for number in range(20):
        queries.raise_alert(
            organization,
            ("Temperatur über Grenzwert " * 5, "فشار هیدرولیک پایین است")[number % 2],
            severity=("critical", "high", "medium", "low")[number % 4],
            alert_type="test",
            message="Leitung 7 <b>undicht</b>: Ersatzteil_mit_einem_Namen_ohne_eine_einzige_Stelle_zum_Umbrechen_ist_bestellt",
            resource_id=machines[number],
        )
    return organization


def logged_in(driver: Any, wall: Wall, key: str) -> Any:
    """The board of this key, once it is live; policy violations are recorded from the start."""
    driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
    driver.get(wall.url)
    driver.switch_to.active_element.send_keys(key + "\n")  # the field is focused
    return wait(driver, lambda: text_of(driver, "#state") == "live")


def wait(driver: Any, condition: Callable[[], Any]) -> Any:
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.support.ui import WebDriverWait

    wait = WebDriverWait(driver, 60, ignored_exceptions=[StaleElementReferenceException, IndexError])
    return wait.until(lambda _: condition())


def text_of(driver: Any, selector: str) -> str:
    found: list[str] = driver.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)", selector
    )
    return found[0]


def nothing_was_refused(driver: Any) -> None:
    assert driver.execute_script("return window.refused") == []
    # Cut connections are caused by the test; anything else is a bug of the page.
    told = [line["message"] for line in driver.get_log("browser") if "net::ERR_" not in line["message"]]
    assert told == []


@pytest.mark.browser
@without_browser
def test_the_board_moves_by_itself_and_fetches_nothing_from_elsewhere(wall: Wall) -> None:
    with browser() as driver:
        logged_in(driver, wall, wall.key)
        driver.execute_script("window.stayed = true")
        for part in PARTS:
            assert text_of(driver, f'[data-part="{part}"]').strip()
        wall.alert("Oil on the floor of hall 2")
        wait(driver, lambda: "Oil on the floor of hall 2" in text_of(driver, "#alerts"))
        assert "critical alert: Oil on the floor of hall 2" in text_of(driver, "#said")
        wall.process.stop()
        wait(driver, lambda: "lost" in text_of(driver, "#state"))
        wall.alert("Nobody saw this come")
        wall.process.start()
        wait(driver, lambda: text_of(driver, "#state") == "live")
        wait(driver, lambda: "Nobody saw this come" in text_of(driver, "#alerts"))
        assert driver.execute_script("return window.stayed") is True  # no page was reloaded
        fetched = driver.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
        assert fetched
        assert all(name.startswith(wall.url) for name in fetched)
        nothing_was_refused(driver)
        # The policy works: injected code does not run, and is reported.
        ran = driver.execute_script(
            "const s = document.createElement('script'); s.textContent = 'window.ran = true'; document.body.append(s);"
            "const i = document.createElement('img'); i.src = 'http://127.0.0.1:9/x.png'; document.body.append(i);"
            "return window.ran === true"
        )
        assert not ran
        wait(driver, lambda: len(driver.execute_script("return window.refused")) == 2)


@pytest.mark.browser
@without_browser
def test_it_fits_every_width_whatever_the_names_are(wall: Wall) -> None:
    wide = (
        "const width = document.documentElement.clientWidth;"
        "return [...document.querySelectorAll('body *:not(.skip):not(.unseen)')]"
        ".filter((e) => e.getBoundingClientRect().right > width + 1).map((e) => e.tagName + '.' + e.className)"
    )
    for key in (wall.key, wall.hard_key):
        with browser() as driver:
            logged_in(driver, wall, key)
            for width in (2560, 1600, 1024, 768, 390, 320):
                emulated = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
                driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", emulated)
                assert driver.execute_script("return document.documentElement.scrollWidth") <= width, width
                assert driver.execute_script(wide) == [], width
            cut = "return [...document.querySelectorAll('svg text')].filter((e) => e.getBBox().x < 0).map((e) => e.textContent)"
            assert driver.execute_script(cut) == []  # the largest number of an axis is shown in full
            nothing_was_refused(driver)
            if key == wall.hard_key:
                shown = driver.execute_script(
                    "return [...document.querySelectorAll('.machines strong')].map((e) => e.textContent)"
                )
                assert shown.index("Presse 2") < shown.index("Presse 11")  # in natural order
                assert "<Werk 7>" in text_of(driver, "h1")
                assert driver.execute_script("return document.querySelectorAll('main b').length > 0")
                assert "<b>undicht</b>" in text_of(driver, "#alerts")


@pytest.mark.browser
@without_browser
def test_with_the_keyboard_alone(wall: Wall) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    with browser() as driver:
        logged_in(driver, wall, wall.key)

        def press(*pressed: str) -> str:
            ActionChains(driver).send_keys(*pressed).perform()
            focused: str = driver.execute_script(
                "const e = document.activeElement; return e.id || e.className || e.tagName"
            )
            return focused

        assert press(Keys.TAB) == "skip"
        shown = driver.execute_script(
            "const r = document.activeElement.getBoundingClientRect(); return r.left >= 0 && r.width > 0"
        )
        assert shown
        assert press(Keys.ENTER) == "alerts"
        driver.execute_script("document.activeElement.blur()")
        seen = []
        while not seen or seen[-1] not in ("BODY", "skip", *seen[:-1]):
            seen.append(press(Keys.TAB))
            outline = driver.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none" or seen[-1] == "BODY", seen
            if seen[-1] == "SUMMARY":
                break
        assert seen[-1] == "SUMMARY"
        press(Keys.ENTER)
        opened = "return document.activeElement.parentElement.open === true"
        assert driver.execute_script(opened)
        # It stays open and focused when its part is reloaded.
        driver.execute_script(
            "window.before = document.activeElement; document.querySelector('[data-part=demand]').dataset.html = ''; renew('demand')"
        )
        wait(driver, lambda: driver.execute_script("return window.before !== document.activeElement"))
        assert driver.execute_script(opened)
        assert driver.execute_script("return document.activeElement.tagName") == "SUMMARY"
        driver.execute_script("document.querySelector('form[action=\"/logout\"] button').focus()")
        ActionChains(driver).send_keys(Keys.ENTER).perform()
        wait(driver, lambda: text_of(driver, "h1") == "Wall board")
        assert press() == "key"


@pytest.mark.browser
@without_browser
def test_who_wants_no_motion_sees_none_and_others_see_what_is_new(wall: Wall) -> None:
    moving = "return document.getAnimations().map((a) => a.effect.target.textContent)"
    for wanted in ("reduce", "no-preference"):
        with browser() as driver:
            features = [{"name": "prefers-reduced-motion", "value": wanted}]
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            logged_in(driver, wall, wall.key)
            driver.execute_script(
                "window.moved = []; addEventListener('animationstart', (e) => window.moved.push(e.target.textContent))"
            )
            title = f"Smoke in hall {wanted}"
            wall.alert(title)
            wait(driver, lambda title=title: title in text_of(driver, "#alerts"))
            if wanted == "reduce":
                assert driver.execute_script(moving) == []
                assert driver.execute_script("return window.moved") == []
            else:
                wait(driver, lambda: driver.execute_script("return window.moved"))
                moved = driver.execute_script("return window.moved")
                assert len(moved) == 1
                assert title in moved[0]
