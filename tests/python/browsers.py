"""A browser for tests of pages: Debian's chromium, without a window."""

import contextlib
import importlib.util
import shutil
import time

import pytest

needed = pytest.mark.skipif(
    not (
        importlib.util.find_spec("selenium")
        and shutil.which("chromium")
        and shutil.which("chromedriver")
    ),
    reason="needs Selenium, and Debian's chromium and chromium-driver",
)


@contextlib.contextmanager
def opened(profile):
    """Yield a driver of a browser whose profile is in a folder."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for argument in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "window-size=1000,1000",
        f"user-data-dir={profile}",
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def until(condition, seconds=10):
    """Wait until a condition holds; returns its value."""
    end = time.time() + seconds
    while not (value := condition()) and time.time() < end:
        time.sleep(0.02)
    assert value, f"it did not hold within {seconds} seconds"
    return value


def texts(browser, selector):
    return browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)", selector
    )


def distances(browser):
    return [int(text.split()[1]) for text in texts(browser, "#hits .distance")]
