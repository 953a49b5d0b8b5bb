"""What a reload would change: decided from two fleets, without doing any of it.

Every key has its reload class where it is declared. Keys of class `live` retune, keys of class `worker`
replace the process of each bot they concern, keys of class `daemon` keep their old values until a restart.
A plan names keys, never values: these may be secrets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from trioworkers.config.canonical import canonical, digest_of
from trioworkers.config.checks import cross_checks
from trioworkers.config.messages import file_keys
from trioworkers.config.problems import KeyPath, dotted
from trioworkers.config.schema import TABLES, reload_class
from trioworkers.config.settings import BotSettings
from trioworkers.masking import mask_tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from trioworkers.config.fleet import Fleet

SECTIONS = tuple(name for name, model in TABLES.items() if model is not BotSettings)


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to be done to get from one fleet to another.

    Bots are those that this daemon runs: a bot that another shard runs is none of them. They are in the
    order of their names. A bot that got or lost `enabled` is retuned by that key.

    To apply it, end the workers of all `removed` and `replaced` bots before the first of `replaced` and
    `added` starts: a bot id may have moved from one name to another.

    Attributes:
        added, removed, unchanged: names of bots.
        replaced: bots whose process has to be replaced, each with the keys that changed.
        retuned: bots whose keys changed, all of them `live`.
        changed: keys of the other tables that apply at once, `limits.start_rate`; also those that replace
            the process of every bot, `fleet.api_base`.
        kept: keys that wait for a restart of the daemon.
        fleet: the fleet that is in force once the plan is applied, an empty one, too: the new one, but for
            the kept keys.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    replaced: Mapping[str, tuple[str, ...]]
    retuned: Mapping[str, tuple[str, ...]]
    unchanged: tuple[str, ...]
    changed: tuple[str, ...]
    kept: tuple[str, ...]
    fleet: Fleet = field(repr=False)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do; keys that wait for a restart do not count."""
        return not (self.added or self.removed or self.replaced or self.retuned or self.changed)

    def document(self) -> dict[str, Any]:
        """Returns the plan as JSON holds it; `unchanged` is a number."""
        return {
            "added": list(self.added),
            "removed": list(self.removed),
            "replaced": {name: list(keys) for name, keys in self.replaced.items()},
            "retuned": {name: list(keys) for name, keys in self.retuned.items()},
            "unchanged": len(self.unchanged),
            "changed": list(self.changed),
            "kept": list(self.kept),
        }


def plan_lines(plan: Mapping[str, Any]) -> list[str]:
    """Returns a plan's document as lines for people."""
    lines = [f"{word} {name}" for word in ("added", "removed") for name in plan[word]]
    for word in ("replaced", "retuned"):
        lines += [f"{word} {name}: {', '.join(keys)}" for name, keys in plan[word].items()]
    if plan["changed"]:
        lines.append(f"changed {', '.join(plan['changed'])}")
    if plan["kept"]:
        lines.append(f"kept until the daemon is restarted: {', '.join(plan['kept'])}")
    bots = "1 bot" if plan["unchanged"] == 1 else f"{plan['unchanged']} bots"
    return [*lines, f"unchanged {bots}"]


def plan_reload(old: Fleet, new: Fleet) -> Plan:
    """Returns what has to be done to get from `old`, which is in force, to `new`.

    A bot of a plugin whose new table is refused keeps its old settings, unless another has its id now.
    """
    bots = {**new.bots, **_still_good(old, new)}
    update: dict[str, Any] = {
        "bots": bots,
        "sources": {**new.sources, **{name: old.sources[name] for name in bots.keys() - new.bots.keys()}},
        # What was hidden once stays hidden: a worker of before may be replaced by one of now.
        "secret_env_names": old.secret_env_names | new.secret_env_names,
    }
    of_all: list[str] = []
    changed: list[str] = []
    kept: list[str] = []
    for table in SECTIONS:
        was, becomes = (old, new) if table == "fleet" else (getattr(old, table), getattr(new, table))
        back: dict[str, Any] = {}
        for path in _changed(was, becomes, (table,)):
            kind = reload_class(path)
            if kind == "daemon":
                kept.append(dotted(path))
                back[str(path[1])] = getattr(was, str(path[1]))
            else:
                changed.append(dotted(path))
            if kind == "worker":
                of_all.append(dotted(path))
        update.update(back if table == "fleet" else {table: becomes.model_copy(update=back)})
    if old.cluster.node is not None and new.shard.count > 1:  # the cluster goes on until a restart
        changed.remove("fleet.shard")
        kept.append("fleet.shard")
        update["shard"] = old.shard
    changed += map(dotted, _changed(old.plugins, new.plugins, ("plugins",)))
    fleet = new.model_copy(update=update)
    fleet = fleet.model_copy(update={"digest": digest_of(fleet.content())})
    replaced, retuned, unchanged = _common_bots(_own(old), _own(fleet), of_all)
    return Plan(
        added=tuple(sorted(_own(fleet).keys() - _own(old).keys())),
        removed=tuple(sorted(_own(old).keys() - _own(fleet).keys())),
        replaced=replaced,
        retuned=retuned,
        unchanged=unchanged,
        changed=_masked(changed),
        kept=_masked(kept),
        fleet=fleet,
    )


def _common_bots(
    before: Mapping[str, BotSettings], after: Mapping[str, BotSettings], of_all: list[str]
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Returns who is replaced, who is retuned, who stays; `of_all`: keys that replace every bot."""
    replaced, retuned, unchanged = {}, {}, []
    for name in sorted(before.keys() & after.keys()):
        paths = _changed_bot(before[name], after[name])
        keys = _masked([*of_all, *map(dotted, paths)])
        if of_all or any(reload_class(("bots", name, *path)) == "worker" for path in paths):
            replaced[name] = keys
        elif keys:
            retuned[name] = keys
        else:
            unchanged.append(name)
    return replaced, retuned, tuple(unchanged)


def _own(fleet: Fleet) -> dict[str, BotSettings]:
    return {name: bot for name, bot in fleet.bots.items() if fleet.shard.owns(bot.bot_id)}


def _still_good(old: Fleet, new: Fleet) -> dict[str, BotSettings]:
    taken = {bot.bot_id for bot in new.bots.values()}
    return {
        name: bot
        for name, bot in old.bots.items()
        if name in new.refused
        and name in old.sources
        and name not in new.bots
        and bot.bot_id not in taken
        and not any(cross_checks(None, new.webhook, {name: bot}))
    }


def _changed_bot(old: BotSettings, new: BotSettings) -> list[KeyPath]:
    # Most bots are the same, and one comparison tells.
    return [] if old.digest == new.digest else list(_changed(old, new, ()))


def _changed(old: object, new: object, path: KeyPath) -> Iterator[KeyPath]:
    """Yields the paths at which two values differ, each as deep as both have tables there."""
    if isinstance(old, BaseModel) and isinstance(new, BaseModel):
        for key in file_keys(type(new)):
            yield from _changed(getattr(old, key), getattr(new, key), (*path, key))
    elif isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            if key in old and key in new:
                yield from _changed(old[key], new[key], (*path, key))
            else:
                yield (*path, key)
    elif canonical(old) != canonical(new):
        yield path


def _masked(keys: Iterable[str]) -> tuple[str, ...]:
    # Somebody may have pasted a token as the key of a bot's settings.
    return tuple(map(mask_tokens, keys))
