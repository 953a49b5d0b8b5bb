"""The page about backends: the receivers that it shows know our signatures."""

from __future__ import annotations

import json
import shutil
import subprocess
import time

import pytest
from documents import blocks, page

from trioworkers.handlers.backend import sign

SECRET = b"0123456789abcdef"
BODY = '{"update_id":7,"text":"grüße"}'.encode()


def requests():
    """Requests with what a receiver has to say of them."""
    now = str(int(time.time()))
    old = str(int(time.time()) - 400)
    return [
        (now, sign(SECRET, now, BODY), True),
        (now, sign(b"another secret!!", now, BODY), False),
        (now, sign(SECRET, now, BODY + b" "), False),
        (old, sign(SECRET, now, BODY), False),
        (old, sign(SECRET, old, BODY), False),
        ("soon", sign(SECRET, "soon", BODY), False),
        (now, "", False),
    ]


def test_the_receiver_in_python_checks_signature_and_time():
    """What was changed, signed by another or recorded long ago is refused."""
    (source,) = blocks(page("http-backend.md"), "python")
    names: dict[str, object] = {}
    exec(source, names)  # noqa: S102 - our own page
    for at, signature, good in requests():
        headers = {"X-Trioworkers-Timestamp": at, "X-Trioworkers-Signature": signature}
        assert names["is_genuine"](SECRET, headers, BODY) is good  # type: ignore[operator]


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node here")
def test_the_receiver_in_node_checks_signature_and_time():
    """As the one in Python."""
    (source,) = blocks(page("http-backend.md"), "js")
    calls = [
        [{"x-trioworkers-timestamp": at, "x-trioworkers-signature": signature}, good]
        for at, signature, good in requests()
    ]
    script = f"""{source}
    const body = Buffer.from({json.dumps(BODY.decode())});
    for (const [headers, good] of {json.dumps(calls)})
      if (isGenuine({json.dumps(SECRET.decode())}, headers, body) !== good) process.exit(1);
    if (isGenuine("x", {{}}, body)) process.exit(1);
    """
    subprocess.run(["node", "-"], input=script, text=True, check=True, timeout=30)  # noqa: S607 - any Node
