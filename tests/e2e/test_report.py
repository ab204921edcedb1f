"""The report in a real browser: complete without any request, readable on a phone, whole in print."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from db_utils import DatabaseManager, report
from tests.e2e.conftest import browser_paths

pytestmark = pytest.mark.browser


@pytest.fixture
def browser() -> Iterator[webdriver.Chrome]:
    paths = browser_paths()
    assert paths is not None
    options = webdriver.ChromeOptions()
    options.binary_location = paths[0]
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(paths[1]))
    yield driver
    driver.quit()


def test_it_can_be_read_everywhere(
    seeded: DatabaseManager, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    path.write_text(report.build(seeded, "Sample Manufacturing"), encoding="utf-8")
    for width in (1280, 390):
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 640},
        )
        browser.get(path.as_uri())
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        drawn = browser.execute_script(
            "return [...document.images].map(i => [i.complete, i.naturalWidth, i.getBoundingClientRect().right])"
        )
        assert len(drawn) == 10
        for complete, natural, right in drawn:
            assert complete
            assert (natural > 500) is (width == 1280)
            assert 0 < right <= width
        small = browser.execute_script(
            "return [...document.querySelectorAll('p, h1, h2, h3, td, th, figcaption, summary')]"
            ".filter(e => parseFloat(getComputedStyle(e).fontSize) < 13).map(e => e.textContent)"
        )
        assert small == []
        if width == 390:
            assert (
                browser.execute_script("return getComputedStyle(document.querySelector('.tiles')).display")
                == "grid"
            )
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    }
    assert {address for address in asked if not address.startswith("data:")} == {path.as_uri()}

    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    pdf = base64.b64decode(printed["data"])
    assert pdf.startswith(b"%PDF")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    # The printable area of A4 is 182 mm by 269 mm; each section fits on one page and is not split.
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 688, "height": 1016, "deviceScaleFactor": 1, "mobile": False},
    )
    heights = browser.execute_script(
        "return [...document.querySelectorAll('section')].map(s => s.getBoundingClientRect().height)"
    )
    assert max(heights) < 1016
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 688
