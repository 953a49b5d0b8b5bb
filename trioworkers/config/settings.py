"""The settings of a fleet: every key, its default, its meaning and what a change of it touches.

This module is the only declaration: validation, the JSON Schema and the table in docs/fleet-file.md
are made from it. A key's reload class says what a change does: `live` applies at once and touches no
process, `worker` replaces that bot's process (all of them for a key of the fleet), `daemon` needs
a restart of the daemon. It stands in the key's JSON Schema as `x-reload`.

Durations are seconds, sizes bytes, paths absolute. Everything here is frozen.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    StrictBool,
    StrictInt,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from trioworkers.config.canonical import Digested
from trioworkers.config.command import Command, Environment, either, no_albums
from trioworkers.config.declare import (
    REQUIRED,
    Number,
    Table,
    Text,
    at_key,
    live,
    per_daemon,
    per_worker,
)
from trioworkers.config.secret import Secret, resolve, secret_json_schema
from trioworkers.config.units import Bytes, Seconds
from trioworkers.config.values import (
    FEW,
    AutoOrCount,
    BindAddress,
    FolderPath,
    Handler,
    ModuleName,
    Network,
    ShardOf,
    UpdateKind,
    Url,
    expected,
    sorted_once,
)
from trioworkers.http.proxy import RULE, read_proxy
from trioworkers.ip import IPNetwork
from trioworkers.masking import MASK

DIRECT = "direct"  # in the place of a proxy's address: none, whatever the fleet or the environment has
_PRINTABLE = re.compile(r"[\x21-\x7e]+")
_TOKEN = re.compile(r"[0-9]{1,19}:[A-Za-z0-9_-]{1,256}")
_WEBHOOK_SECRET = re.compile(r"[A-Za-z0-9_-]{1,256}")


def _bot_token(secret: Secret) -> Secret:
    if _TOKEN.fullmatch(secret.reveal()) is None:
        raise expected("a bot token as BotFather gives it, digits:letters")
    return secret


def _webhook_secret(secret: Secret) -> Secret:
    if _WEBHOOK_SECRET.fullmatch(secret.reveal()) is None:
        raise expected('1 to 256 characters of A-Z, a-z, 0-9, "_" and "-"')
    return secret


def _api_token(secret: Secret) -> Secret:
    if _PRINTABLE.fullmatch(secret.reveal()) is None:
        raise expected("printable characters without spaces")
    return secret


def _proxy_address(secret: Secret) -> Secret:
    if secret.reveal() != DIRECT:
        try:
            read_proxy(secret.reveal())
        except ValueError:
            raise expected(f'"{DIRECT}", or {RULE}') from None
    return secret


def _sorted_networks(networks: tuple[IPNetwork, ...]) -> tuple[IPNetwork, ...]:
    return tuple(sorted(set(networks), key=str))  # addresses of both families do not compare


def _absent_is_none(value: object, handler: ValidatorFunctionWrapHandler) -> Secret | None:
    if value is None:
        return None
    try:
        secret: Secret = handler(value)
    except ValidationError as error:
        if error.errors()[0]["type"] == "secret_absent":
            return None
        raise
    return secret


def _store_url(value: object, info: ValidationInfo) -> str:
    url = resolve(value, info.context)
    if url != "sqlite" and not url.startswith("postgresql://"):
        raise expected('"sqlite" or an address that begins with postgresql://')
    return url


def _from_initial_on(longest: float, info: ValidationInfo) -> float:
    initial = info.data.get("initial", 0.0)
    if initial > longest:
        raise at_key("initial", f"expected at most max, which is {longest:g} s, got {initial:g} s")
    return longest


def _beyond_heartbeat(timeout: float, info: ValidationInfo) -> float:
    interval = info.data.get("heartbeat_interval", 0.0)
    if timeout <= interval:  # every healthy worker would be killed between two heartbeats
        rule = f"expected more than heartbeat_interval, which is {interval:g} s"
        raise at_key("hang_timeout", f"{rule}, got {timeout:g} s")
    return timeout


def _with_certificate(key: Path | None, info: ValidationInfo) -> Path | None:
    if "tls_cert" in info.data and (key is None) != (info.data["tls_cert"] is None):
        given, absent = ("tls_cert", "tls_key") if key is None else ("tls_key", "tls_cert")
        raise at_key(given, f"needs {absent} beside it")
    return key


ProxyAddress = Annotated[Secret, AfterValidator(_proxy_address)]


class FleetKeys(Table):
    """The fleet as a whole."""

    name: Text = live("fleet", "the fleet's name in status, metrics and alerts", min_length=1, max_length=64)
    state_dir: FolderPath = per_daemon(
        "state", "the database and the bots that were added by command; $STATE_DIRECTORY"
    )
    runtime_dir: FolderPath = per_daemon(
        "state/run", "the control socket and the API token; $RUNTIME_DIRECTORY, else `run` below state_dir"
    )
    log_dir: FolderPath = per_daemon(
        "state/logs", "master.log and worker_<bot>.log; $LOGS_DIRECTORY, else `logs` below state_dir"
    )
    api_base: Url = per_worker("https://api.telegram.org", "the Bot API server")
    python_path: Annotated[tuple[FolderPath, ...], FEW] = per_worker(
        ["."], "folders that handlers are imported from"
    )
    shutdown_timeout: Seconds = live("90s", "how long a graceful stop may take", ge=0)
    plugins_dir: FolderPath = per_daemon(
        "plugins", "*.py found here are loaded as plugins, unless one of that name is loaded already"
    )
    plugin_modules: Annotated[tuple[ModuleName, ...], FEW] = per_daemon([], "further plugins by module name")
    disabled_plugins: Annotated[tuple[Text, ...], AfterValidator(sorted_once), FEW] = per_daemon(
        [], "plugins that are not loaded, by name"
    )
    worker_start: Literal["fork", "spawn"] = per_daemon(
        "fork", "how workers start: forked from a warm zygote, or spawned"
    )
    watch: StrictBool = per_daemon(True, "follow the files; false: a reload by HUP and `reload` only")
    preload: Annotated[tuple[ModuleName, ...], FEW] = per_daemon(
        [], "libraries imported before workers are forked"
    )
    shard: ShardOf = live(
        "0/1",
        "I/N: this daemon runs the bots whose hashed id falls to part I, from 0, of N",
    )
    proxy: ProxyAddress | None = per_worker(
        None, 'by which the Bot API is reached, "socks5h://user:password@host:1080"; $HTTPS_PROXY, $ALL_PROXY'
    )
    local_files: FolderPath | None = per_worker(
        None, "where a Bot API server with --local keeps files; downloads of them are read from this disk"
    )


class Limits(Table):
    """What the whole fleet may use."""

    max_workers: StrictInt = live(1000, "worker processes at the same time", ge=1)
    max_workers_per_core: AutoOrCount = live("auto", "worker processes per core; auto: as the memory allows")
    start_rate: Number = live(50, "worker starts per second, fleet-wide", gt=0)


class Api(Table):
    """The dashboard, the status and the live stream."""

    bind: BindAddress = per_daemon("127.0.0.1:3001", "where the API listens")
    token: Annotated[Secret, AfterValidator(_api_token), WrapValidator(_absent_is_none)] | None = live(
        {"env": "TRIOWORKERS_API_TOKEN"},
        "the API's token; made and kept in runtime_dir when the variable is absent",
    )
    metrics_public: StrictBool = live(True, "/metrics needs no token while the API is bound to loopback")


class Webhook(Table):
    """The listener that Telegram delivers to."""

    bind: BindAddress = per_daemon("0.0.0.0:8443", "where the webhook listens while a bot needs it")
    public_url: Url | None = live(
        None, "the address under which Telegram reaches the listener; $WEBHOOK_HOST"
    )
    secret: Annotated[Secret, AfterValidator(_webhook_secret)] | None = live(
        None, "what Telegram sends back as proof; $WEBHOOK_SECRET"
    )
    tls_cert: FolderPath | None = per_daemon(
        None, "the certificate in PEM; plain HTTP without; $WEBHOOK_SSL_CERT"
    )
    tls_key: Annotated[FolderPath | None, AfterValidator(_with_certificate)] = per_daemon(
        None, "the certificate's key in PEM; $WEBHOOK_SSL_KEY"
    )
    telegram_ips_only: StrictBool = live(False, "refuse deliveries from outside Telegram's networks")
    trusted_proxies: Annotated[tuple[Network, ...], AfterValidator(_sorted_networks), FEW] = live(
        [], "proxies whose X-Forwarded-For is believed"
    )
    max_body: Bytes = live("1MB", "the largest delivery that is read", ge=1)


class StoreSettings(Table):
    """Where updates are kept until they are handled."""

    url: Annotated[
        str,
        BeforeValidator(_store_url),
        PlainSerializer(lambda url: url if url == "sqlite" else MASK, return_type=str, when_used="json"),
        WithJsonSchema(secret_json_schema()),
    ] = per_daemon(
        "sqlite",
        "sqlite in state_dir, or a PostgreSQL server: postgresql://…, also from a source as secrets are",
        repr=False,
    )
    durability: Literal["full", "normal"] = per_daemon(
        "full", "normal: a power cut, on PostgreSQL a crash of the server, may lose the last moments"
    )
    dead_retention: Seconds = live("30d", "how long dead letters are kept", gt=0)


class LogSettings(Table):
    """What is logged, and how."""

    level: Literal["debug", "info", "warn", "error"] = live("info", "the least level that is written")
    format: Literal["auto", "text", "json", "journal"] = per_daemon("auto", "how lines are written")
    throttle_window: Seconds = live(
        "30s", "a repeated line is written once in this time, with its count", ge=0
    )
    summary_interval: Seconds = live("60s", "how often the daemon logs a summary", gt=0)
    max_size: Bytes = live("10MB", "a log file that would grow beyond it is rotated; 0: never", ge=0)
    keep: StrictInt = live(3, "how many rotated files of each log are kept", ge=1, le=1000)


class RetrySettings(Table):
    """How a failed update is tried again."""

    attempts: StrictInt = live(8, "attempts in all", ge=1)
    initial: Seconds = live("1s", "the pause before the second attempt", ge=0)
    factor: Number = live(2, "what each pause is multiplied by for the next", ge=1)
    max: Annotated[Seconds, AfterValidator(_from_initial_on)] = live("60s", "the longest pause", ge=0)
    deadline: Seconds = live(
        "10m", "after this long since it was first handled an update is not tried again", gt=0
    )


class RestartSettings(Table):
    """How a crashed worker is started again."""

    initial: Seconds = live("1s", "the pause before the first restart", ge=0)
    factor: Number = live(2, "what each pause is multiplied by for the next", ge=1)
    max: Annotated[Seconds, AfterValidator(_from_initial_on)] = live("45s", "the longest pause", ge=0)
    per_hour: StrictInt = live(5, "restarts within any hour, after which the bot counts as failed", ge=0)
    healthy_after: Seconds = live("10m", "a worker that lived this long starts anew at `initial`", ge=0)


class RateLimit(Table):
    """How many messages a bot sends at most; messages beyond it wait for their turn."""

    per_second: Number = live(30, "messages per second in all", gt=0)
    per_chat: Number = live(1, "messages per second in one chat", gt=0)
    per_group_minute: Number | None = live(None, "messages per minute in one group; no limit without", gt=0)


# "Broadcasting to users" in the Bot FAQ: 30/s in all, 1/s in a chat, 20/min in a group.
TELEGRAM_RATE_LIMIT: Mapping[str, float] = {"per_second": 30, "per_chat": 1, "per_group_minute": 20}


def _rate_limit(value: object) -> object:
    if isinstance(value, str):
        if value == "telegram":
            return TELEGRAM_RATE_LIMIT
        if value == "off":
            return None
        raise expected('"off", "telegram" or a table')
    if value is None or isinstance(value, dict | RateLimit):
        return value
    raise PydanticCustomError("kind", 'expected "off", "telegram" or a table')


_RATE_LIMIT = BeforeValidator(_rate_limit, json_schema_input_type=Literal["off", "telegram"] | RateLimit)
UpdateKinds = Annotated[tuple[UpdateKind, ...], AfterValidator(sorted_once), FEW]


class BotSettings(Table, Digested):
    """One bot: the keys of `[bots.NAME]`, merged with `[defaults]`."""

    name: str = Field(description="the table's name; no key of the file")
    token: Annotated[Secret, AfterValidator(_bot_token)] = per_worker(
        REQUIRED, 'the bot\'s token: "123:abc", { env = "…" }, { file = "…" } or { credential = "…" }'
    )
    handler: Handler | None = per_worker(None, "module:function, a Trio async function; or `command`")
    command: Annotated[Command | None, AfterValidator(either)] = per_worker(
        None, 'a program in place of a handler: ["node", "bot.js"]'
    )
    cwd: FolderPath | None = per_worker(
        None, "the command's working directory; the fleet file's folder where none is named"
    )
    acknowledge: Literal["auto", "probe", "poll", "receipt", "quiet"] = per_worker(
        "auto",
        "what says that a command has handled an update: probe, poll, receipt, quiet;"
        " auto: probe, else receipt",
    )
    order: Literal["chat", "none"] = live(
        "chat", "none: a command is given several updates of a chat at the same time"
    )
    drop_pending: Literal["ignore", "obey"] = live(
        "ignore", "whether a command may drop the updates that wait for it: ignore, obey"
    )
    redirect: StrictBool = per_worker(
        True, "a command's requests for the Bot API server come to the daemon, whatever its code says"
    )
    token_passed: Literal["local", "real"] = per_worker(
        "local", "the token that a command is given: one of this process, or the bot's own"
    )
    enabled: StrictBool = live(True, "a bot that is not enabled neither receives nor handles updates")
    transport: Literal["poll", "webhook", "auto"] = live("poll", "how updates come")
    settings: Mapping[str, Any] = live({}, "handed to the handler", repr=False)
    poll_timeout: Seconds = live(
        "50s", "how long one getUpdates waits; Telegram caps it at 50 s", ge=0, le=50
    )
    allowed_updates: UpdateKinds = live(
        [], "the kinds of updates wanted; none named means Telegram's default"
    )
    albums: Annotated[Seconds, AfterValidator(no_albums)] = live(
        0, "an album is handled at once, when no part has come for this long; 0: part by part", ge=0, le=60
    )
    callbacks: Literal["chat", "own_lane"] = live(
        "chat",
        "own_lane: a press of a button does not wait for its chat's messages, nor they for it",
    )
    concurrency: StrictInt = live(16, "chats handled at the same time", ge=1)
    handler_timeout: Seconds = live("90s", "how long one handling may take", gt=0)
    on_failure: Literal["block", "skip"] = live(
        "block", "block the chat while its first update is retried, or skip to the next"
    )
    retry: RetrySettings = live({}, "how a failed update is tried again")
    replay_safe: StrictBool = live(True, "a retried update never repeats a call that succeeded")
    rate_limit: Annotated[RateLimit | None, _RATE_LIMIT] = live(
        "off", "how fast the bot sends at most; messages beyond it wait: off, telegram or a table"
    )
    worker: Literal["always", "on_demand"] = live("always", "on_demand: no process until an update comes")
    idle_stop: Seconds = live("10m", "an on-demand worker without work goes to sleep", gt=0)
    heartbeat_interval: Seconds = live("45s", "how often a worker reports that it is alive", gt=0)
    hang_timeout: Annotated[Seconds, AfterValidator(_beyond_heartbeat)] = live(
        "5m", "a worker silent for this long is killed", gt=0
    )
    memory_limit: Bytes = live("150MB", "a worker larger than this is replaced once it is idle", ge=1)
    memory_check_interval: Seconds = live("5m", "how often a worker's memory is looked at", gt=0)
    restart: RestartSettings = live({}, "how a crashed worker is started again")
    proxy: ProxyAddress | None = per_worker(
        None, "by which this bot's Bot API is reached, in place of the fleet's proxy; \"direct\": by none"
    )
    test_servers: StrictBool = per_worker(
        False, "the bot lives at Telegram's test servers, and is called by /bot<token>/test/"
    )
    environment: Environment = per_worker(
        {}, "variables for the command; {token}, {api} and {files} stand for what it is given", repr=False
    )

    @property
    def shown(self) -> str:
        """Its handler or its program, as lists of bots have it."""
        return self.handler or " ".join(self.command or ())

    @property
    def bot_id(self) -> int:
        """The bot's id at Telegram: its token up to the colon."""
        return int(self.token.reveal().partition(":")[0])
