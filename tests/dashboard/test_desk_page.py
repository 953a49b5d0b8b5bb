"""Operators at their desk: several at once, over lost connections, with pictures, by keyboard."""

from __future__ import annotations

import re
import struct
import zlib

import pytest
from dashboard_browser import free_port
from playwright.sync_api import Route, expect

HANDOFF = {"assigned_text": "", "released_text": "", "queued_text": ""}
HANDLER = """
async def handle(update, bot):
    if update.text:
        await bot.send_message(chat_id=update.chat_id, text="bot: " + update.text)
"""


def png(width: int = 40, height: int = 30) -> bytes:
    """A picture of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"\x2f\x6f\xdf" * width for _ in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.fixture
def support(run_fleet):
    """A fleet whose bot hands dialogs to operators, at an address that it keeps over restarts."""
    tables = {
        "bots": {"support": {"handler": "mind:handle"}},
        "plugins": {"handoff": HANDOFF},
        "api": {"bind": f"127.0.0.1:{free_port()}"},
    }
    return run_fleet(tables, modules={"mind": HANDLER})


@pytest.fixture
def operator(support, open_dashboard):
    """Open the desk as an operator of that name, each in a browser of its own."""

    def open_(name: str, hash: str = "#/desk", **options):
        screen = open_dashboard(support, hash, **options)
        screen.may_lose = True  # what the daemon refuses stands in the console, too
        screen.page.get_by_label("Your name").fill(name)
        return screen

    return open_


def asks(fleet, name: str = "Alice"):
    user = fleet.user(name)
    user.says("/operator")
    return user


def opens(screen, name: str) -> None:
    screen.page.get_by_role("navigation", name="Dialogs").get_by_role("link", name=name).click()
    expect(screen.page.get_by_role("heading", name=name, level=2)).to_be_visible()


def test_a_dialog_is_taken_answered_noted_and_given_back(support, operator) -> None:
    """What the user says appears by itself; what the operator says arrives; the note does not."""
    screen = operator("Olga")
    page = screen.page
    expect(page.get_by_text("Nobody waits")).to_be_visible()
    alice = asks(support)
    opens(screen, "Alice")
    log = page.get_by_role("log", name="Conversation")
    box = page.get_by_label("Your message")
    box.fill("hello")
    expect(screen.button("Send")).to_be_disabled()
    screen.button("Take").click()
    expect(page.get_by_text("The dialog is yours.")).to_be_visible()
    alice.says("my order is lost")
    expect(log).to_contain_text("my order is lost")
    box.press("Enter")
    assert alice.hears()["text"] == "hello"
    expect(log.locator(".line-operator")).to_contain_text("hello")
    expect(box).to_have_value("")
    box.fill("a regular\ncustomer")
    screen.button("Note for operators").click()
    expect(log.locator(".line-note")).to_contain_text("a regular")
    screen.button("Give back to the bot").click()
    expect(page.get_by_text("The bot has the dialog again.")).to_be_visible()
    expect(page.get_by_text("Nobody waits")).to_be_visible()
    alice.says("thanks")
    assert alice.hears()["text"] == "bot: thanks"


def test_the_last_line_of_a_dialog_comes_though_it_has_left_the_list(support, operator) -> None:
    """A page may be read between the end of a dialog and the line that says so: it is read again."""
    screen = operator("Olga")
    page = screen.page
    asks(support)
    opens(screen, "Alice")
    screen.button("Take").click()
    expect(page.get_by_text("The dialog is yours.")).to_be_visible()
    cut: list[int] = []

    def a_moment_earlier(route) -> None:
        response = route.fetch()
        answer = response.json()
        if answer.get("state") == "bot" and not cut:
            cut.append(answer["version"])
            answer["transcript"] = [line for line in answer["transcript"] if line["kind"] != "returned"]
            answer["version"] -= 1
        route.fulfill(response=response, json=answer)

    page.route("**/api/handoffs/*after=*", a_moment_earlier)
    screen.button("Give back to the bot").click()
    expect(page.get_by_text("The bot has this dialog again.")).to_be_visible()
    asks(support, "Bob")
    expect(page.get_by_text("The bot has the dialog again.")).to_be_visible()
    page.unroute_all(behavior="wait")  # an answer that is still changed would fail as the page is closed
    assert cut


def test_two_operators_want_the_same_dialog(support, operator) -> None:
    """One gets it; the other is told who, and may take it over; who loses it keeps what was written."""
    asks(support)
    olga, anna = operator("Olga"), operator("Anna")
    opens(olga, "Alice")
    opens(anna, "Alice")
    held: list[Route] = []
    is_late = [True]

    def late(route: Route) -> None:
        if is_late[0]:
            held.append(route)
        else:
            route.continue_()

    anna.page.route("**/api/handoffs/*after=*", late)  # what she sees of the dialog is not up to date
    olga.button("Take").click()
    expect(olga.page.get_by_text("The dialog is yours.")).to_be_visible()
    anna.button("Take").click()
    expect(anna.page.locator("#announcer")).to_contain_text("Olga has this dialog now")
    is_late[0] = False
    for route in held:
        route.continue_()
    expect(anna.button("Take over from Olga")).to_be_visible()
    olga.page.get_by_label("Your message").fill("a long answer")
    anna.button("Take over from Olga").click()
    anna.button("Take over").click()
    expect(anna.page.get_by_text("The dialog is yours.")).to_be_visible()
    expect(olga.page.locator(".dialog-notice")).to_contain_text("Anna has taken this dialog over. What you")
    expect(olga.page.get_by_label("Your message")).to_have_value("a long answer")
    expect(olga.button("Send")).to_be_disabled()


def test_a_dialog_is_closed_under_ones_hands(support, operator) -> None:
    """By the user: it is said at once, and what was being written is kept, also over a reload of the page."""
    alice = asks(support)
    screen = operator("Olga")
    opens(screen, "Alice")
    screen.button("Take").click()
    expect(screen.page.get_by_text("The dialog is yours.")).to_be_visible()
    screen.page.get_by_label("Your message").fill("just a moment")
    alice.says("/cancel")
    expect(screen.page.locator(".dialog-notice")).to_contain_text("What you have written is kept below.")
    expect(screen.button("Send")).to_be_disabled()
    screen.page.reload()
    expect(screen.page.get_by_label("Your message")).to_have_value("just a moment")
    screen.button("Take from the bot").click()
    expect(screen.page.get_by_text("The dialog is yours.")).to_be_visible()
    screen.button("Send").click()
    assert alice.hears()["text"] == "just a moment"


def test_words_that_the_daemon_did_not_get_are_kept_and_sent_once(support, operator) -> None:
    """Without a connection it says so; sent again, they are read once: the first try got through."""
    alice = asks(support)
    screen = operator("Olga")
    page = screen.page
    opens(screen, "Alice")
    screen.button("Take").click()
    expect(page.get_by_text("The dialog is yours.")).to_be_visible()

    def loses_the_answer(route):
        route.fetch()
        route.abort()

    page.route("**/api/handoffs?*", lambda route: route.abort())
    page.route("**/say", loses_the_answer)
    page.route("**/api/handoffs/*?*", lambda route: route.abort())
    page.get_by_label("Your message").fill("only once")
    screen.button("Send").click()
    failed = page.get_by_role("list", name="Not sent")
    expect(failed).to_contain_text("Message not sent: there is no connection to the daemon.")
    page.unroute("**/say")
    failed.get_by_role("button", name="Send again").click()
    expect(failed).not_to_be_visible()
    page.unroute("**/api/handoffs/*?*")
    page.unroute("**/api/handoffs?*")
    expect(page.get_by_role("log").locator(".line-operator")).to_have_count(1)
    alice.says("/cancel")
    alice.says("end")
    assert [alice.hears()["text"] for _ in range(2)] == ["only once", "bot: end"]


def test_the_daemon_dies_while_somebody_writes(support, operator) -> None:
    """The page says so and keeps the words; with the next daemon it goes on by itself."""
    alice = asks(support)
    screen = operator("Olga")
    page = screen.page
    opens(screen, "Alice")
    screen.button("Take").click()
    expect(page.get_by_text("The dialog is yours.")).to_be_visible()
    support.kill()
    expect(page.get_by_text("No connection to the daemon. What you write is kept here")).to_be_visible()
    page.get_by_label("Your message").fill("are you there?")
    screen.button("Send").click()
    expect(page.get_by_role("list", name="Not sent")).to_contain_text("are you there?")
    alice.says("still there?")  # Telegram keeps it
    support.start()
    expect(page.locator("#banner")).to_be_empty()
    log = page.get_by_role("log", name="Conversation")
    expect(log).to_contain_text("still there?")
    expect(page.locator(".dialog-notice")).not_to_contain_text("could not be refreshed")
    page.get_by_role("list", name="Not sent").get_by_role("button", name="Send again").click()
    assert alice.hears()["text"] == "are you there?"
    expect(log.locator(".line-operator")).to_have_count(1)
    page.get_by_label("Your message").fill("and on")
    screen.button("Send").click()
    assert alice.hears()["text"] == "and on"


def test_a_conversation_is_loaded_once_at_a_time(support, operator) -> None:
    """Also when the connection comes back amid it: a second, late answer would undo what is shown by then."""
    asks(support)
    screen = operator("Olga")
    page = screen.page
    held: list[Route] = []
    loading = re.compile(r"/api/handoffs/.*[?]before=")
    page.route(loading, lambda route: held.append(route))  # Playwright sets an attribute of it
    with page.expect_request(loading):
        page.get_by_role("navigation", name="Dialogs").get_by_role("link", name="Alice").click()
    support.kill()
    screen.see("The daemon does not answer.")
    support.start()
    screen.live()
    held[0].continue_()
    screen.button("Take").click()
    expect(page.get_by_text("The dialog is yours.")).to_be_visible()
    assert len(held) == 1


def test_a_conversation_that_could_not_be_refreshed_is_tried_again(support, operator) -> None:
    """With the next answer for the list, and not only when the user says something more."""
    alice = asks(support)
    screen = operator("Olga")
    page = screen.page
    opens(screen, "Alice")
    refused = {"status": 503, "content_type": "application/json", "body": '{"error": "not read yet"}'}
    page.route("**/api/handoffs/*?*", lambda route: route.fulfill(**refused))
    alice.says("can you hear me?")
    expect(page.locator(".dialog-notice")).to_contain_text("could not be refreshed: not read yet")
    page.unroute("**/api/handoffs/*?*")
    asks(support, "Bob")
    expect(page.get_by_role("log", name="Conversation")).to_contain_text("can you hear me?")
    expect(page.locator(".dialog-notice")).to_be_empty()


def test_history_is_read_while_new_messages_come(support, operator) -> None:
    """What one reads stays where it is; a button says how many came, and leads to them."""
    alice = asks(support)
    screen = operator("Olga")
    page = screen.page
    for number in range(70):
        alice.says(f"line {number}\nand a second one")
    support.wait_for(lambda: _lines(support, alice) >= 71)
    opens(screen, "Alice")
    log, box = page.get_by_role("log", name="Conversation"), page.locator(".lines-scroll")
    expect(log).to_contain_text("line 69")
    assert page.evaluate(
        "(b => b.scrollHeight - b.scrollTop - b.clientHeight < 2)(document.querySelector('.lines-scroll'))"
    )
    box.evaluate("box => { box.scrollTop = 0; }")
    screen.button("Show earlier messages").click()
    expect(log).to_contain_text("line 0")
    expect(screen.button("Show earlier messages")).not_to_be_visible()
    top = box.evaluate("box => box.scrollTop")
    alice.says("something new")
    button = page.get_by_role("button", name="1 new message below")
    expect(button).to_be_visible()
    assert box.evaluate("box => box.scrollTop") == top
    texts = log.locator(".line-text").all_inner_texts()
    assert [text.split("\n")[0] for text in texts] == [
        "/operator",
        *(f"line {n}" for n in range(70)),
        "something new",
    ]
    button.click()
    expect(button).not_to_be_visible()
    expect(log.get_by_text("something new")).to_be_in_viewport()


def test_pictures_are_seen_and_pages_do_not_run(support, operator) -> None:
    """A picture is shown; a page that a stranger has sent is a download; an edited text is the new one."""
    alice = asks(support)
    screen = operator("Olga")
    page = screen.page
    opens(screen, "Alice")
    bot = support.sim_bot()
    support.telegram.do(alice.sim.send_photo, bot, png(), "broken")
    picture = page.get_by_role("img", name="a photo of Alice: broken")
    expect(picture).to_be_visible()
    support.wait_for(lambda: picture.evaluate("one => one.naturalWidth") == 40)
    support.telegram.do(alice.sim.edit, bot, "really broken")
    expect(page.get_by_role("log")).to_contain_text("really broken")
    support.telegram.do(
        lambda: alice.sim.send_document(
            bot, b"<script>alert(1)</script>", filename="page.html", content_type="text/html"
        )
    )
    link = page.get_by_role("link", name="Download page.html")
    with page.expect_download() as download:
        link.click()
    assert download.value.suggested_filename == "page.html"
    address = page.url.partition("#")[0].rstrip("/") + link.get_attribute("href")
    answer = page.request.get(address)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")


def test_the_desk_by_keyboard_alone(support, operator) -> None:
    """From the list to the user's chat."""
    alice = asks(support)
    screen = operator("Olga")
    page = screen.page
    page.get_by_role("navigation", name="Dialogs").get_by_role("link", name="Alice").focus()
    page.keyboard.press("Enter")
    screen.button("Take").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("The dialog is yours.")).to_be_visible()
    page.get_by_label("Your message").focus()
    page.keyboard.type("by hand")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("twice")
    page.keyboard.press("Enter")
    assert alice.hears()["text"] == "by hand\ntwice"


def test_on_a_telephone_one_sees_the_list_or_a_dialog(support, operator) -> None:
    """And nothing is wider than its window."""
    asks(support)
    screen = operator("Olga", width=360, height=640)
    page = screen.page
    opens(screen, "Alice")
    expect(page.get_by_role("navigation", name="Dialogs")).not_to_be_visible()
    screen.button("Take").click()
    expect(screen.button("Send")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("link", name="Back to the list").click()
    expect(page.get_by_role("navigation", name="Dialogs")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Alice", level=2)).to_be_visible()


def test_without_the_plugin_the_desk_says_what_to_do(run_fleet, open_dashboard) -> None:
    """Instead of an empty list."""
    screen = open_dashboard(run_fleet({"bots": {"echo": {}}}), "#/desk")
    expect(screen.page.get_by_text("Dialogs are not handed to operators")).to_be_visible()
    expect(screen.page.get_by_text("[plugins.handoff]")).to_be_visible()


def _lines(fleet, user) -> int:
    id_ = f"support:{user.id}"
    return len(fleet.ask("GET", f"/api/handoffs/{id_}?limit=500").json()["transcript"])
