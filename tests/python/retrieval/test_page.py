"""The page in a browser: Debian's chromium, without a window."""

import re
import shutil
import threading
import time

import pytest
import test_server

server = pytest.importorskip("dnnh.retrieval.server")
webdriver = pytest.importorskip("selenium.webdriver")
uvicorn = pytest.importorskip("uvicorn")
pytestmark = pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")),
    reason="needs Debian's chromium and chromium-driver",
)


@pytest.fixture(scope="module")
def address():
    config = uvicorn.Config(
        server.make_app(test_server.Fixed(test_server.Fake())), port=0, log_level="warning"
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    port = running.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    running.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    for argument in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "window-size=1000,1000",
        f"user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
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


def test_through_the_page(browser, address, tmp_path):
    browser.get(address)
    until(lambda: len(texts(browser, "#hits button")) == 24)
    assert texts(browser, "#about") == ["40 images, codes of 12 bits"]
    # Names are text, whatever is in them.
    assert texts(browser, "#hits b") == [] and "<b>" in texts(browser, "#hits .name")[0]

    # An image of one's own.
    (tmp_path / "mine.png").write_bytes(test_server.png(7))
    browser.find_element("id", "file").send_keys(str(tmp_path / "mine.png"))
    until(lambda: texts(browser, "#title") == ["Most similar to mine.png"])
    until(lambda: len(distances(browser)) == 20)
    assert distances(browser)[0] == 0
    (status,) = texts(browser, "#status")
    assert re.fullmatch(r"20 hits\. Encoded in [\d.]+ ms, searched in [\d.]+ ms\.", status)
    assert texts(browser, "#hits .labels")[0] in ("even", "odd")
    assert (
        len(texts(browser, "#code i")) == 12 and browser.find_element("id", "code").is_displayed()
    )

    # Settings, by the keyboard alone: from one to the next by Tab.
    top = browser.find_element("id", "top")
    top.clear()
    top.send_keys("5", "\t")
    until(lambda: len(distances(browser)) == 5)
    active = browser.switch_to.active_element
    assert active.get_attribute("id") == "radius"
    active.send_keys("0", "\n")
    until(lambda: set(distances(browser)) == {0})
    active.clear()
    active.send_keys("\t")
    until(lambda: len(distances(browser)) == 5)

    # One of the index, by Enter.
    last = browser.find_elements("css selector", "#hits button")[-1]
    name = last.text.splitlines()[-1]
    last.send_keys("\n")
    until(lambda: texts(browser, "#title") == [f"Most similar to {name}"])
    until(lambda: re.fullmatch(r"5 hits\. Searched in [\d.]+ ms\.", texts(browser, "#status")[0]))
    assert 0 in until(lambda: distances(browser))
    browser.find_element("id", "others").click()
    until(lambda: texts(browser, "#title") == ["Random images of the index"])
    assert not browser.find_element("id", "code").is_displayed()


def test_more_hits_up_to_the_limit(browser, address):
    browser.get(address)
    until(lambda: len(texts(browser, "#hits button")) == 24)
    more = browser.find_element("id", "more")
    assert not more.is_displayed()  # random images are no hits
    browser.find_element("css selector", "#hits button").send_keys("\n")
    until(more.is_displayed)
    first = until(lambda: texts(browser, "#hits .name"))
    assert len(first) == 20
    more.send_keys("\n")
    until(lambda: len(distances(browser)) == test_server.COUNT)
    assert texts(browser, "#hits .name")[:20] == first
    assert distances(browser) == sorted(distances(browser))
    assert browser.find_element("id", "top").get_attribute("value") == str(test_server.COUNT)
    until(lambda: not more.is_displayed())  # there are no more
    # The keyboard goes on with the first of the new hits.
    buttons = browser.find_elements("css selector", "#hits button")
    assert browser.switch_to.active_element == buttons[20]

    # Within a distance there may be fewer than wanted.
    radius = browser.find_element("id", "radius")
    radius.send_keys("3", "\n")
    until(lambda: 0 < len(distances(browser)) < 20)
    assert not more.is_displayed()


def test_images_and_buttons_have_names(browser, address):
    browser.get(address)
    until(lambda: len(texts(browser, "#hits button")) == 24)
    browser.find_element("css selector", "#hits button").send_keys("\n")
    until(lambda: len(distances(browser)) == 20)
    alts, names = browser.execute_script(
        "return [[...document.images].map(e => e.alt),"
        " [...document.querySelectorAll('#hits button')].map(e => e.ariaLabel)]"
    )
    assert len(alts) == 21 and all(alts)
    assert re.fullmatch(r"distance 0, (even|odd), <b>\d+\.png", names[0])
    assert browser.find_element("id", "status").get_attribute("aria-live") == "polite"


@pytest.mark.parametrize("scheme, darker", [("light", False), ("dark", True)])
def test_light_and_dark(browser, address, scheme, darker):
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    for path in ("/", "/docs"):
        browser.get(address + path)
        text, page = browser.execute_script(
            "const style = getComputedStyle(document.body);"
            "return [style.color, style.backgroundColor]"
        )
        assert (luminance(page) < luminance(text)) == darker
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def luminance(color):
    """The sum of red, green and blue of rgb(...)."""
    return sum(int(value) for value in re.findall(r"\d+", color)[:3])


def test_a_file_that_is_no_image_is_reported(browser, address, tmp_path):
    browser.get(address)
    (tmp_path / "x.png").write_bytes(b"no image")
    browser.find_element("id", "file").send_keys(str(tmp_path / "x.png"))
    until(lambda: "is not a readable image" in texts(browser, "#status")[0])
    assert browser.find_element("id", "status").get_attribute("class") == "error"


def test_on_a_telephone_nothing_is_cut(browser, address):
    browser.set_window_size(500, 900)  # the narrowest that it can be
    browser.get(address)
    until(lambda: len(texts(browser, "#hits button")) == 24)
    widths = browser.execute_script(
        "return [document.documentElement.scrollWidth, window.innerWidth]"
    )
    assert widths[0] <= widths[1]
    browser.set_window_size(1000, 1000)


def test_the_page_makes_no_outbound_requests(browser, address):
    browser.get_log("performance")  # forgets what was before
    browser.get_log("browser")
    for path in ("/", "/docs"):
        browser.get(address + path)
        time.sleep(0.5)
    sent = [
        line["message"]
        for line in browser.get_log("performance")
        if 'Network.requestWillBeSent"' in line["message"]
    ]
    assert sent
    for message in sent:
        url = message.partition('"url":"')[2].partition('"')[0]
        assert url.startswith((address, "data:", "blob:")), url
    # But for the image that is gone, the browser has nothing to complain about.
    assert not [
        line
        for line in browser.get_log("browser")
        if line["level"] == "SEVERE" and "/image/3 " not in line["message"]
    ]
