"""However much changes and is scrolled, a page holds what it held before: nodes, listeners, history."""

from __future__ import annotations

from playwright.sync_api import expect

BOTS = 1000
WAY = {
    "#/bots": "Bots",
    "#/bots/echo": "echo",
    "#/letters": "Dead letters",
    "#/letters/1": "Dead letter 1",
    "#/desk": "Operators' desk",
    "#/desk/echo:1": "Operators' desk",
    "#/alerts": "Alerts",
    "#/reloads": "Reloads",
    "#/plugins": "Plugins",
    "#/": "Overview",
}.items()
# A thousand rows that change, told by the page's own stream: what a daemon under load sends, without one.
FLOOD = """rounds => new Promise(async (done) => {
    const { live } = await import('/static/app.js');
    const box = document.querySelector('.fleet-scroll');
    const names = [...live.rows.keys()];
    for (let round = 1; round <= rounds; round += 1) {
        for (const [at, bot] of names.entries()) {
            const data = { messages: round * (at % 7), latency_ms: at % 50, memory_bytes: 4e6 + round };
            live._take({ type: 'change', seq: round, bot, data });
        }
        live._take({ type: 'event', seq: round, at: 1, level: 'info', event: 'worker.ready', bot: names[0] });
        live.history.sample(live.rows, performance.now() + 1000 * round);
        box.scrollTop = (round * 997) % box.scrollHeight;
        await new Promise(requestAnimationFrame);
    }
    done([live.events.length, live.history.series.size]);
})"""


# Scrolls up and down by one row at a time; how many rows were put into the document in all.
ROW_BY_ROW = """steps => new Promise(async (done) => {
    const box = document.querySelector('.fleet-scroll');
    const height = box.querySelector('tbody tr').offsetHeight;
    const rest = () => new Promise((next) => requestAnimationFrame(() => requestAnimationFrame(next)));
    box.scrollTop = 200 * height;
    await rest();
    let placed = 0;
    const seen = new MutationObserver((changes) => {
        for (const change of changes) placed += change.addedNodes.length;
    });
    seen.observe(box.querySelector('tbody'), { childList: true });
    for (const by of [height, -height]) {
        for (let step = 0; step < steps; step += 1) {
            box.scrollTop += by;
            await rest();
        }
    }
    seen.disconnect();
    done(placed);
})"""


def test_scrolling_moves_only_the_rows_that_come_and_go(run_fleet, open_dashboard) -> None:
    """One row comes with each step. All others stay: a row that is moved is laid out and painted anew."""
    bots = {f"bot{number:04}": {"worker": "on_demand"} for number in range(BOTS)}
    screen = open_dashboard(run_fleet({"bots": bots}), "#/bots?sort=bot")
    expect(screen.page.get_by_role("grid")).to_have_attribute("aria-rowcount", str(BOTS + 1))
    steps = 10
    assert screen.page.evaluate(ROW_BY_ROW, steps) <= 3 * steps


def test_thousands_of_changes_leave_nothing_behind(run_fleet, open_dashboard) -> None:
    """After 1,000 bots changed 100 times while the table scrolled, there are as many nodes and listeners."""
    bots = {f"bot{number:04}": {"worker": "on_demand"} for number in range(BOTS)}
    fleet = run_fleet({"bots": bots, "log": {"level": "info"}})
    screen = open_dashboard(fleet, "#/bots?sort=bot")
    expect(screen.page.get_by_role("grid")).to_have_attribute("aria-rowcount", str(BOTS + 1))
    debugger = screen.page.context.new_cdp_session(screen.page)
    debugger.send("Performance.enable")
    screen.page.evaluate(FLOOD, 30)
    before = _held(debugger)
    events, series = screen.page.evaluate(FLOOD, 100)
    after = _held(debugger)
    assert events <= 300
    assert series == BOTS
    assert screen.page.locator(".fleet tbody tr").count() < 60
    assert after["Nodes"] < before["Nodes"] + 500, (before, after)
    assert after["JSEventListeners"] < before["JSEventListeners"] + 60, (before, after)
    assert after["JSHeapUsedSize"] < before["JSHeapUsedSize"] + 1_000_000, (before, after)


def test_pages_that_were_left_are_gone(run_fleet, open_dashboard) -> None:
    """Going to and fro leaves no listeners and no timers behind."""
    screen = open_dashboard(run_fleet({"bots": {"echo": {}}, "plugins": {"handoff": {}}}))
    screen.may_lose = True  # of the letter and the dialog, there are none
    debugger = screen.page.context.new_cdp_session(screen.page)
    debugger.send("Performance.enable")

    def wander(rounds: int) -> None:
        for _ in range(rounds):
            for hash, heading in WAY:
                screen.go(hash)
                expect(screen.page.get_by_role("heading", level=1)).to_have_text(heading)

    wander(3)
    before = _held(debugger)
    wander(15)
    after = _held(debugger)
    assert after["Nodes"] < before["Nodes"] + 200, (before, after)
    assert after["JSEventListeners"] < before["JSEventListeners"] + 20, (before, after)


def _held(debugger) -> dict[str, float]:
    for _ in range(2):  # what the first collection finalises is gone after the second
        debugger.send("HeapProfiler.collectGarbage")
    return {metric["name"]: metric["value"] for metric in debugger.send("Performance.getMetrics")["metrics"]}
