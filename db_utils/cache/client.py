"""The cache's Redis client: slot routing, scripts by digest, redirects, one deadline per call."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Sequence
from functools import partial
from importlib import resources
from typing import Any

import redis
from redis.exceptions import AskError, MovedError, ResponseError

from db_utils.cache.breaker import Breaker, BreakerState
from db_utils.cache.connection import Command
from db_utils.cache.node import Node, UnavailableError, describe
from db_utils.cache.redis_url import Address, RedisTarget

ASKING = ("ASKING",)
TIME = ("TIME",)
REDIRECTS = 3

# Replies that mean this server is unusable now, whatever the command. (redis-py closes the connection and
# raises for those about a login or a server that is loading its data.)
_OUT_OF_SERVICE = frozenset({"BUSY", "MASTERDOWN", "CLUSTERDOWN", "UNKILLABLE"})
# redis-py strips from the text what the error's class expresses.
_CODES: dict[type, str] = {
    redis.exceptions.AskError: "ASK",
    redis.exceptions.ClusterDownError: "CLUSTERDOWN",
    redis.exceptions.MasterDownError: "MASTERDOWN",
    redis.exceptions.MovedError: "MOVED",
    redis.exceptions.NoPermissionError: "NOPERM",
    redis.exceptions.NoScriptError: "NOSCRIPT",
    redis.exceptions.OutOfMemoryError: "OOM",
    redis.exceptions.ReadOnlyError: "READONLY",
    redis.exceptions.TryAgainError: "TRYAGAIN",
}
# Before Redis 7, an error inside a script is wrapped in a script error.
_inside_script = re.compile(r"Error running script.*? -([A-Z]+) ").search


class RefusedError(Exception):
    """Redis answered, but refused the command; `code` is the first word of its reply."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Script:
    """A Lua script of this package, sent by digest, and in full only if the server does not know it."""

    def __init__(self, name: str) -> None:
        self.text = resources.files("db_utils.cache").joinpath(f"scripts/{name}.lua").read_bytes()
        self.digest = hashlib.sha1(self.text, usedforsecurity=False).hexdigest()

    def command(self, keys: Sequence[str], arguments: Sequence[bytes | str], *, in_full: bool) -> Command:
        """Return the command that runs it."""
        head: Command = ("EVAL", self.text) if in_full else ("EVALSHA", self.digest)
        return (*head, str(len(keys)), *keys, *arguments)


class RedisClient:
    """Runs commands for one slot on the server that owns it, before a deadline.

    A cluster's slots are learnt on use: a server that does not own one redirects to its owner. A failed
    server is forgotten, so that after a failover the other servers are asked again.
    """

    def __init__(
        self,
        target: RedisTarget,
        *,
        max_connections: int,
        budget_seconds: float,
        make_breaker: Callable[[str], Breaker],
    ) -> None:
        self.name = target.name
        self._target = target
        self._max_connections = max_connections
        self._budget_seconds = budget_seconds
        self._make_breaker = make_breaker
        self._lock = threading.Lock()
        self._closed = False
        self._slots: dict[int, Node] = {}
        self._nodes: dict[Address, Node] = {}
        if target.kind == "cluster":
            for address in target.addresses:
                self._node(address)
            self._only = None
        else:
            self._only = self._new_node(self.name, None)

    def read(self, slot: int, command: Command, deadline: float) -> tuple[Any, Any]:
        """Return the server's time and its reply to a command, in one round trip. Raises UnavailableError."""
        node, (now, reply) = self._run(slot, (TIME, command), deadline)
        if isinstance(now, ResponseError) or isinstance(reply, ResponseError):
            error = now if isinstance(now, ResponseError) else reply
            if reply_code(error) == "TRYAGAIN":  # a migrating slot, not a failing server
                raise UnavailableError(f"{node.name}: {describe(error)}")
            node.note_failure(describe(error))
            raise UnavailableError(f"{node.name}: {describe(error)}")
        if node.breaker.failures:
            node.note_success()
        return now, reply

    def run_script(
        self,
        slot: int,
        script: Script,
        keys: Sequence[str],
        arguments: Sequence[bytes | str],
        deadline: float,
    ) -> tuple[Any, Any]:
        """Return the server's time and a script's reply. Raises UnavailableError or RefusedError."""
        command = script.command(keys, arguments, in_full=False)
        node, (now, reply) = self._run(slot, (TIME, command), deadline)
        if isinstance(reply, ResponseError) and reply_code(reply) == "NOSCRIPT":
            command = script.command(keys, arguments, in_full=True)
            node, (now, reply) = self._run(slot, (TIME, command), deadline)
        self._check(node, reply)
        self._check(node, now)
        return now, reply

    def write(self, slot: int, command: Command, deadline: float) -> Any:
        """Return the reply to a command that changes something. Raises UnavailableError or RefusedError."""
        node, (reply,) = self._run(slot, (command,), deadline)
        self._check(node, reply)
        return reply

    def nodes(self) -> list[Node]:
        """Return every server that is known."""
        with self._lock:
            return list(self._nodes.values()) if self._only is None else [self._only]

    def close(self) -> None:
        """Close every connection."""
        self._closed = True
        for node in self.nodes():
            node.close()

    def _run(self, slot: int, commands: Sequence[Command], deadline: float) -> tuple[Node, list[Any]]:
        node = self._only or self._slots.get(slot) or self._any_node()
        answer = node.run(commands, deadline)
        if self._only is None:
            for _ in range(REDIRECTS):
                redirect = next((reply for reply in answer if isinstance(reply, AskError)), None)
                if redirect is None:
                    break
                node = self._node((redirect.host or self._host_of(node), int(redirect.port)))
                if isinstance(redirect, MovedError):  # MOVED is permanent, ASK is for this command only
                    self._slots[slot] = node
                    answer = node.run(commands, deadline)
                else:
                    asked = [part for command in commands for part in (ASKING, command)]
                    answer = node.run(asked, deadline)[1::2]
        return node, answer

    def _check(self, node: Node, reply: Any) -> None:
        if not isinstance(reply, ResponseError):
            if node.breaker.failures:
                node.note_success()
            return
        code = reply_code(reply)
        if code in _OUT_OF_SERVICE:
            node.note_failure(describe(reply))
            raise UnavailableError(f"{node.name}: {describe(reply)}")
        if code == "READONLY" and self._target.kind == "sentinel":
            node.drop_connections()  # the master has become a replica: ask the Sentinels again
        raise RefusedError(code, describe(reply))

    def _node(self, address: Address) -> Node:
        with self._lock:
            node = self._nodes.get(address)
            if node is None:
                node = self._nodes[address] = self._new_node(f"Redis at {address[0]}:{address[1]}", address)
                if self._closed:
                    node.close()
            return node

    def _new_node(self, name: str, address: Address | None) -> Node:
        return Node(
            name,
            partial(self._target.connect, address),
            self._make_breaker(name),
            max_connections=self._max_connections,
            budget_seconds=self._budget_seconds,
            on_failure=self._forget if address else None,
        )

    def _any_node(self) -> Node:
        nodes = self.nodes()
        for node in nodes:
            if node.breaker.state is BreakerState.CLOSED:
                return node
        for node in nodes:
            node.ask_whether_back()
        return nodes[0]

    def _host_of(self, node: Node) -> str:
        return next(address[0] for address, known in self._nodes.items() if known is node)

    def _forget(self, node: Node) -> None:
        for slot in [slot for slot, known in list(self._slots.items()) if known is node]:
            self._slots.pop(slot, None)


def reply_code(error: ResponseError) -> str:
    """Return what identifies this error across server versions."""
    inner = _inside_script(str(error))
    return inner.group(1) if inner else _CODES.get(type(error)) or str(error).partition(" ")[0]
