"""What pages of other origins get from a real Chromium that has signed in at the dashboard: nothing."""

from __future__ import annotations

import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ATTACKS = """
async (api) => {
  const read = [];
  const ask = async (name, path, options) => {
    try {
      const answer = await fetch(api + path, options);
      if (answer.type !== "opaque") read.push([name, await answer.text()]);
    } catch {}
  };
  for (const mode of ["cors", "no-cors"]) {
    const usual = { mode, credentials: "include" };
    await ask("get", "/api/workers/status", usual);
    await ask("index", "/", usual);
    for (const path of ["/api/bots/echo/pause", "/api/reload", "/logout", "/login"]) {
      await ask(path, path, { ...usual, method: "POST", body: "{}" });
    }
    await ask("delete", "/api/bots/echo", { ...usual, method: "DELETE" });
    await ask("token", "/api/bots", { ...usual, headers: { Authorization: "Bearer guess" } });
  }
  navigator.sendBeacon(api + "/api/bots/echo/pause", "{}");
  await new Promise((resolve) => {
    const socket = new WebSocket(api.replace("http", "ws") + "/api/live");
    socket.onmessage = ({ data }) => read.push(["websocket", data]);
    socket.onopen = () => read.push(["websocket", "opened"]);
    socket.onclose = resolve;
  });
  await new Promise((resolve) => {
    const events = new EventSource(api + "/api/workers/status", { withCredentials: true });
    events.onerror = () => { events.close(); resolve(); };
  });
  for (const path of ["/login?code=guess", "/?token=guess", "/api/bots"]) {
    await new Promise((resolve) => {
      const image = new Image();
      image.onload = image.onerror = resolve;
      image.src = api + path;
    });
    await new Promise((resolve) => {
      const script = document.createElement("script");
      script.onload = () => { read.push(["script", path]); resolve(); };
      script.onerror = resolve;
      script.src = api + path;
      document.body.append(script);
    });
  }
  const frame = async (start) => {
    const made = document.createElement("iframe");
    made.name = `frame${document.querySelectorAll("iframe").length}`;
    document.body.append(made);
    await new Promise((resolve) => { made.onload = resolve; start(made); });
    try {
      const { URL, body } = made.contentDocument;
      if (URL !== "about:blank") read.push(["frame", body.innerText]);
    } catch {}
  };
  for (const path of ["/", "/api/bots", "/login?code=guess", "/?token=guess"]) {
    await frame((made) => { made.src = api + path; });
  }
  for (const path of ["/logout", "/api/bots/echo/pause", "/login"]) {
    await frame((made) => {
      const form = document.createElement("form");
      Object.assign(form, { method: "post", action: api + path, target: made.name, enctype: "text/plain" });
      document.body.append(form);
      form.submit();
    });
  }
  return read;
}
"""


class Foreign(BaseHTTPRequestHandler):
    """Serves an empty page; at `/sandboxed` one whose origin is null."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        if self.path == "/sandboxed":
            self.send_header("Content-Security-Policy", "sandbox allow-scripts allow-forms")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>foreign</title><body></body>")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def foreign_port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Foreign) as server:
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.05))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "page", ["http://127.0.0.1:{}/", "http://localhost:{}/", "http://127.0.0.1:{}/sandboxed"]
)
def test_a_foreign_page_can_neither_read_nor_act(
    run_fleet, open_dashboard, foreign_port: int, page: str
) -> None:
    """Of another port, of another host, without an origin: by fetch, websocket, image, script, frame, form.

    Nothing is read, nothing is done, no wrong attempt is counted, and the person stays signed in.
    """
    fleet = run_fleet({"bots": {"echo": {}}})
    screen = open_dashboard(fleet)
    before = fleet.folder.events("control.action")
    evil = screen.page.context.new_page()
    evil.goto(page.format(foreign_port))
    assert evil.evaluate(ATTACKS, screen.address) == []
    evil.close()
    assert fleet.folder.events("control.action") == before
    assert fleet.folder.events("control.refused") == []
    assert not fleet.bot("echo")["paused"]
    screen.page.reload()
    screen.live()
