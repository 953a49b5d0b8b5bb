import json
import os
import urllib.request

import of_mine

API = f"{os.environ['API_ROOT']}/bot{os.environ['BOT_TOKEN']}/"


def call(method, **params):
    body = json.dumps(params).encode()
    request = urllib.request.Request(API + method, body, {"content-type": "application/json"})  # noqa: S310 - http only
    return json.loads(urllib.request.urlopen(request, timeout=70).read())["result"]  # noqa: S310


with urllib.request.urlopen(API + "getMe") as answer:  # noqa: S310
    print("mine", of_mine.VALUE, json.load(answer)["ok"], flush=True)
offset = 0
while True:
    for update in call("getUpdates", offset=offset, timeout=20):
        offset = update["update_id"] + 1
        message = update["message"]
        call("sendMessage", chat_id=message["chat"]["id"], text=f"echo {message['text']}")
