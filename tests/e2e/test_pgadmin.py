"""pgAdmin in a real browser: log in, open the database without a password, read what the columns mean."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.e2e.compose_stack import ComposeStack
from tests.e2e.conftest import browser_paths

pytestmark = [pytest.mark.docker, pytest.mark.browser]

TO_THE_TABLES = ("Servers", "barnameh", "Databases", "barnameh_ops", "Schemas", "public", "Tables")
ORGANIZATION = "11111111-1111-1111-1111-111111111111"
MULTI_TENANT_QUERY = f"SELECT * FROM demand_history WHERE organization_id = '{ORGANIZATION}';"


class PgAdmin:
    """What a user does in pgAdmin, and sees."""

    def __init__(self, driver: webdriver.Chrome, url: str, pictures: Path) -> None:
        self.driver = driver
        self.url = url
        self.pictures = pictures

    def wait(self, condition: Callable[[], object], what: str, seconds: float = 60) -> None:
        waiting = WebDriverWait(self.driver, seconds, ignored_exceptions=[StaleElementReferenceException])
        try:
            waiting.until(lambda _: condition())
        except TimeoutException:
            self.picture("failed")
            raise AssertionError(f"waited {seconds} s for: {what}; see {self.pictures}/failed.png") from None

    def picture(self, name: str) -> None:
        self.driver.save_screenshot(str(self.pictures / f"{name}.png"))

    def shown(self, selector: str) -> list[WebElement]:
        return [e for e in self.driver.find_elements(By.CSS_SELECTOR, selector) if e.is_displayed()]

    def log_in(self, email: str, password: str) -> None:
        self.driver.get(self.url)
        self.wait(lambda: self.shown("input[name=email]"), "the login form")
        self.picture("login")
        self.shown("input[name=email]")[0].send_keys(email)
        self.shown("input[name=password]")[0].send_keys(password, Keys.ENTER)

    def node(self, name: str) -> WebElement | None:
        """The first entry of the object tree with this name."""
        label = f".//span[@class='file-name'][normalize-space(.)='{name}']"
        found = self.driver.find_elements(By.XPATH, f"//div[contains(@class, 'file-entry')][{label}]")
        return found[0] if found else None

    def open(self, *path: str) -> None:
        """Open the entries of the object tree from its root down to the last of `path`.

        pgAdmin opens some entries on its own, so only closed ones are clicked, and the walk restarts from the root
        if a click and pgAdmin's own opening collided and closed an entry.
        """
        for _ in range(10 * len(path)):
            shown = [self.node(name) for name in path]
            if shown[-1] is not None:
                return
            deepest = [entry for entry in shown if entry is not None][-1]
            following = path[shown.index(deepest) + 1]
            try:
                toggle = deepest.find_element(By.CSS_SELECTOR, ".directory-toggle")
                if "open" not in (toggle.get_attribute("class") or "").split():
                    toggle.click()
                WebDriverWait(self.driver, 5).until(lambda _, name=following: self.node(name))
            except (TimeoutException, StaleElementReferenceException):
                continue
        self.picture("failed")
        raise AssertionError(f"{path[-1]} did not appear; see {self.pictures}/failed.png")

    def select(self, name: str) -> None:
        entry = self.node(name)
        assert entry is not None, name
        entry.click()

    def tab(self, title: str) -> None:
        next(tab for tab in self.shown(".dock-tab") if tab.text.startswith(title)).click()

    def rows(self) -> list[list[str]]:
        """The list on screen, row by row, with the full text of each cell from its tooltip."""
        rows = self.shown(".pgrt-row")
        cells = [row.find_elements(By.CSS_SELECTOR, ".pgrd-row-cell") for row in rows]
        return [[cell.get_attribute("title") or "" for cell in row] for row in cells]


@pytest.fixture(scope="module")
def pgadmin(stack: ComposeStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PgAdmin]:
    """A browser logged in with the documented address and password."""
    paths = browser_paths()
    assert paths is not None
    pictures = Path(os.environ.get("E2E_PICTURES") or tmp_path_factory.mktemp("pictures"))
    pictures.mkdir(parents=True, exist_ok=True)
    options = webdriver.ChromeOptions()
    options.binary_location = paths[0]
    # The window must be tall enough for the whole tree: pgAdmin renders only visible entries.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1600,2000"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(paths[1]))
    try:
        person = PgAdmin(driver, f"http://127.0.0.1:{stack.settings['PGADMIN_PORT']}/", pictures)
        person.log_in("admin@barnameh.local", "admin")
        person.wait(lambda: person.node("Servers"), "the object tree after logging in")
        yield person
    finally:
        driver.quit()


def test_the_registered_server_opens_without_a_password(pgadmin: PgAdmin, stack: ComposeStack) -> None:
    pgadmin.open(*TO_THE_TABLES, "resource_metrics")
    pgadmin.picture("tables")
    assert not pgadmin.shown("input[type=password]")
    tables = [name for (name,) in stack.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    assert [name for name in tables if pgadmin.node(name) is None] == []


def test_each_column_says_what_it_means(pgadmin: PgAdmin, stack: ComposeStack) -> None:
    pgadmin.open(*TO_THE_TABLES, "resource_metrics", "Columns")
    pgadmin.select("Columns")
    pgadmin.tab("Properties")
    expected = stack.query(
        "SELECT attname, col_description(attrelid, attnum) FROM pg_attribute "
        "WHERE attrelid = 'resource_metrics'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
    )
    assert all(comment for _, comment in expected)
    pgadmin.wait(lambda: len(pgadmin.rows()) == len(expected), "the list of columns")
    pgadmin.picture("columns")
    assert [(row[1], row[-1]) for row in pgadmin.rows()] == expected


def test_a_documented_query_shows_its_rows(pgadmin: PgAdmin, stack: ComposeStack) -> None:
    pgadmin.open(*TO_THE_TABLES)  # by then pgAdmin is connected to the database
    pgadmin.select("barnameh_ops")
    keys = ActionChains(pgadmin.driver).key_down(Keys.ALT).key_down(Keys.SHIFT).send_keys("q")
    keys.key_up(Keys.SHIFT).key_up(Keys.ALT).perform()
    pgadmin.wait(lambda: pgadmin.shown("iframe"), "the query tool")
    pgadmin.driver.switch_to.frame(pgadmin.shown("iframe")[-1])
    try:
        pgadmin.wait(lambda: pgadmin.shown(".cm-content"), "the query editor")
        pgadmin.shown(".cm-content")[0].send_keys(MULTI_TENANT_QUERY, Keys.F5)
        [(count,)] = stack.query(MULTI_TENANT_QUERY.replace("*", "count(*)", 1))
        assert count > 0
        status = f"//*[contains(normalize-space(.), 'Total rows: {count}')]"
        pgadmin.wait(lambda: pgadmin.driver.find_elements(By.XPATH, status), f"{count} rows")
    finally:
        pgadmin.driver.switch_to.default_content()
    pgadmin.picture("query")
