"""The page in a browser: Debian's chromium, without a window."""

import re
import threading
import time

import pytest
import test_server

import browsers

server = pytest.importorskip("dnnh.retrieval.server")
uvicorn = pytest.importorskip("uvicorn")
pytestmark = browsers.needed


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
    with browsers.opened(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


def test_through_the_page(browser, address, tmp_path):
    browser.get(address)
    browsers.until(lambda: len(browsers.texts(browser, "#hits button")) == 24)
    assert browsers.texts(browser, "#about") == ["40 images, codes of 12 bits"]
    # Names are text, whatever is in them.
    assert (
        browsers.texts(browser, "#hits b") == []
        and "<b>" in browsers.texts(browser, "#hits .name")[0]
    )

    # An image of one's own.
    (tmp_path / "mine.png").write_bytes(test_server.png(7))
    browser.find_element("id", "file").send_keys(str(tmp_path / "mine.png"))
    browsers.until(lambda: browsers.texts(browser, "#title") == ["Most similar to mine.png"])
    browsers.until(lambda: len(browsers.distances(browser)) == 20)
    assert browsers.distances(browser)[0] == 0
    (status,) = browsers.texts(browser, "#status")
    assert re.fullmatch(r"20 hits\. Encoded in [\d.]+ ms, searched in [\d.]+ ms\.", status)
    assert browsers.texts(browser, "#hits .labels")[0] in ("even", "odd")
    assert (
        len(browsers.texts(browser, "#code i")) == 12
        and browser.find_element("id", "code").is_displayed()
    )

    # Settings, by the keyboard alone: from one to the next by Tab.
    top = browser.find_element("id", "top")
    top.clear()
    top.send_keys("5", "\t")
    browsers.until(lambda: len(browsers.distances(browser)) == 5)
    active = browser.switch_to.active_element
    assert active.get_attribute("id") == "radius"
    active.send_keys("0", "\n")
    browsers.until(lambda: set(browsers.distances(browser)) == {0})
    active.clear()
    active.send_keys("\t")
    browsers.until(lambda: len(browsers.distances(browser)) == 5)

    # One of the index, by Enter.
    last = browser.find_elements("css selector", "#hits button")[-1]
    name = last.text.splitlines()[-1]
    last.send_keys("\n")
    browsers.until(lambda: browsers.texts(browser, "#title") == [f"Most similar to {name}"])
    browsers.until(
        lambda: re.fullmatch(
            r"5 hits\. Searched in [\d.]+ ms\.", browsers.texts(browser, "#status")[0]
        )
    )
    assert 0 in browsers.until(lambda: browsers.distances(browser))
    assert browser.switch_to.active_element.get_attribute("id") == "title"
    browser.find_element("id", "others").click()
    browsers.until(lambda: browsers.texts(browser, "#title") == ["Random images of the index"])
    assert not browser.find_element("id", "code").is_displayed()


def test_more_hits_up_to_the_limit(browser, address):
    browser.get(address)
    browsers.until(lambda: len(browsers.texts(browser, "#hits button")) == 24)
    more = browser.find_element("id", "more")
    assert not more.is_displayed()  # random images are no hits
    browser.find_element("css selector", "#hits button").send_keys("\n")
    browsers.until(more.is_displayed)
    first = browsers.until(lambda: browsers.texts(browser, "#hits .name"))
    assert len(first) == 20
    more.send_keys("\n")
    browsers.until(lambda: len(browsers.distances(browser)) == test_server.COUNT)
    assert browsers.texts(browser, "#hits .name")[:20] == first
    assert browsers.distances(browser) == sorted(browsers.distances(browser))
    assert browser.find_element("id", "top").get_attribute("value") == str(test_server.COUNT)
    browsers.until(lambda: not more.is_displayed())  # there are no more
    # The keyboard goes on with the first of the new hits.
    buttons = browser.find_elements("css selector", "#hits button")
    assert browser.switch_to.active_element == buttons[20]

    # Within a distance there may be fewer than wanted.
    radius = browser.find_element("id", "radius")
    radius.send_keys("3", "\n")
    browsers.until(lambda: 0 < len(browsers.distances(browser)) < 20)
    assert not more.is_displayed()


def test_images_and_buttons_have_names(browser, address):
    browser.get(address)
    browsers.until(lambda: len(browsers.texts(browser, "#hits button")) == 24)
    browser.find_element("css selector", "#hits button").send_keys("\n")
    browsers.until(lambda: len(browsers.distances(browser)) == 20)
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
    browsers.until(lambda: "is not a readable image" in browsers.texts(browser, "#status")[0])
    assert browser.find_element("id", "status").get_attribute("class") == "error"


def test_on_a_telephone_nothing_is_cut(browser, address):
    browser.set_window_size(500, 900)  # the narrowest that it can be
    browser.get(address)
    browsers.until(lambda: len(browsers.texts(browser, "#hits button")) == 24)
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
