"""The wall board in Chromium: logs in with a key, moves by itself, fetches nothing from elsewhere, fits a phone."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from barnameh.api import board_parts, keys
from db_utils import DatabaseManager, OperationalDataQueries
from tests.support.api import OPERATIONS, Api
from tests.support.api_process import Process, running
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
    # The cookie opens the board and nothing else.
    assert client.get(f"/v1/organizations/{api.organization_id}/organizations/locations").status_code == 401
    client.post("/logout")
    assert 'action="/login"' in client.get("/").text


def test_names_are_text(api: Api) -> None:
    organization, key = next(iter(api.others.items()))  # whose board nobody has looked at yet
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


@pytest.fixture
def service(seeded_database: DatabaseManager) -> Iterator[tuple[Process, DatabaseManager, str]]:
    keys.make_live(seeded_database, MANUFACTURING)
    key, _ = keys.create(seeded_database, MANUFACTURING, "board", "reader")
    with running(seeded_database.settings.database_url) as process:
        yield process, seeded_database, key


@pytest.mark.browser
@pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")), reason="no chromium with chromedriver"
)
def test_in_a_browser_the_board_moves_by_itself(
    service: tuple[Process, DatabaseManager, str], tmp_path: Path
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    process, owner, key = service
    driver = browser(tmp_path)
    try:
        wait = WebDriverWait(driver, 60)
        driver.get(f"http://127.0.0.1:{process.port}/")
        driver.switch_to.active_element.send_keys(key + Keys.ENTER)  # the field has the focus
        wait.until(lambda d: d.find_element(By.ID, "state").text == "live")
        driver.execute_script("window.stayed = true")
        for part in PARTS:
            assert driver.find_element(By.CSS_SELECTOR, f'[data-part="{part}"]').text
        OperationalDataQueries(owner).raise_alert(
            MANUFACTURING, "Oil on the floor of hall 2", severity="critical", alert_type="test"
        )
        wait.until(lambda d: "Oil on the floor of hall 2" in d.find_element(By.ID, "alerts").text)
        assert "Oil on the floor" in driver.find_element(By.ID, "said").get_attribute("textContent")
        process.stop()
        wait.until(lambda d: "lost" in d.find_element(By.ID, "state").text)
        process.start()
        wait.until(lambda d: d.find_element(By.ID, "state").text == "live")
        assert driver.execute_script("return window.stayed") is True  # no page was loaded anew
        for width in (1600, 390):
            emulated = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", emulated)
            assert driver.execute_script("return document.documentElement.scrollWidth") <= width
        fetched = driver.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
        assert all(name.startswith(f"http://127.0.0.1:{process.port}/") for name in fetched)
        refused = [
            line
            for line in driver.get_log("browser")
            if line["level"] == "SEVERE"
            and "ERR_CONNECTION_REFUSED" not in line["message"]
            and "ERR_INCOMPLETE_CHUNKED" not in line["message"]
        ]
        assert refused == []
        # With the keyboard alone: the first stop jumps to the alerts.
        driver.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
        assert driver.switch_to.active_element.get_attribute("class") == "skip"
    finally:
        driver.quit()


def browser(folder: Path) -> Any:
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = shutil.which("chromium") or ""
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        f"--user-data-dir={folder}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
