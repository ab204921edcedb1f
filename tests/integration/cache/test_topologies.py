"""Every form of REDIS_URL: sockets, users, TLS, Sentinel and Cluster, each with real servers."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis
import trustme

from db_utils.cache import PredictionCache, PutOutcome
from db_utils.cache.keys import hash_slot, space
from db_utils.embedded import redis_server

from .conftest import KIND, MakeCache, client, port_of, prediction, wait_until
from .faults import FaultProxy

pytestmark = pytest.mark.slow


def works(cache: PredictionCache, organization: UUID) -> None:
    """Fail unless a value can be stored and read, alone and in a batch, and be invalidated."""
    errors = cache.statistics()["errors"]
    assert cache.put(organization, KIND, "a", prediction("a")) is PutOutcome.STORED
    answer = cache.get_or_compute(organization, KIND, "b", lambda: prediction("b"))
    assert answer is not None
    assert answer.source == "database"
    assert {name: one.value for name, one in cache.get_many(organization, KIND, "abc").items()} == {
        "a": "a",
        "b": "b",
    }
    assert cache.invalidate(organization, KIND, "a")
    assert cache.get_many(organization, KIND, "abc").keys() == {"b"}
    assert cache.invalidate(organization, KIND)
    assert cache.get(organization, KIND, "b") is None
    assert cache.statistics()["errors"] == errors


def test_a_unix_socket_and_a_database(make_cache: MakeCache, organization: UUID, tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    with redis_server.start("--unixsocket", str(path)) as url, client(url.replace("/0", "/3")) as raw:
        works(make_cache(f"unix://{path}?db=3"), organization)
        assert raw.dbsize() > 0
        works(make_cache(url.replace("/0", "/3?client_name=dashboard")), uuid4())


def test_a_user_with_just_the_rights_that_the_documentation_names(
    make_cache: MakeCache, organization: UUID
) -> None:
    documentation = Path(__file__).parents[3] / "docs" / "prediction-cache.md"
    (rule,) = [line for line in documentation.read_text().splitlines() if line.startswith("ACL SETUSER")]
    with redis_server.start() as url, client(url) as raw:
        raw.execute_command(*rule.replace(">secret", ">p@ss:w/rd").split())
        raw.acl_setuser("default", enabled=False)
        works(make_cache(url.replace("//", "//predictions:p%40ss%3Aw%2Frd@")), organization)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_proxy(redis_url: str, authority: trustme.CA) -> Iterator[FaultProxy]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with FaultProxy(redis_url, tls=context) as proxy:
        yield proxy


def test_tls(
    make_cache: MakeCache, organization: UUID, tls_proxy: FaultProxy, authority: trustme.CA, tmp_path: Path
) -> None:
    certificate = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(certificate))
    works(make_cache(f"{tls_proxy.url}?ssl_ca_certs={certificate}"), organization)
    large = make_cache(f"{tls_proxy.url}?ssl_ca_certs={certificate}")
    value = [number / 7 for number in range(50_000)]
    assert large.put(organization, KIND, "large", prediction(value)) is PutOutcome.STORED
    answer = large.get(organization, KIND, "large")
    assert answer is not None
    assert answer.value == value
    for _ in range(3):  # connections closed while idle are replaced, here too
        tls_proxy.cut()
        assert large.get(organization, KIND, "large") is not None
    assert large.statistics()["errors"] == 0


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(
    make_cache: MakeCache, organization: UUID, tls_proxy: FaultProxy
) -> None:
    cache = make_cache(tls_proxy.url)
    for _ in range(4):
        answer = cache.get_or_compute(organization, KIND, "a", prediction)
        assert answer is not None
        assert answer.source == "database"
    assert cache.statistics()["breaker"] == "open"


@contextmanager
def sentinels(folder: Path, master: str, count: int = 3) -> Iterator[list[int]]:
    """Sentinels that watch a master, and fail over within about a second."""
    binary = redis_server.find()
    assert binary is not None
    ports = [redis_server.free_port() for _ in range(count)]
    processes = []
    try:
        for port in ports:
            configuration = folder / f"sentinel-{port}.conf"
            configuration.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
                f"sentinel monitor mymaster 127.0.0.1 {port_of(master)} 2\n"
                "sentinel down-after-milliseconds mymaster 500\n"
                "sentinel failover-timeout mymaster 2000\n"
            )
            processes.append(
                subprocess.Popen([str(binary), str(configuration), "--sentinel"], stdout=subprocess.DEVNULL)
            )
        for port in ports:
            with redis.Redis(port=port, protocol=2) as sentinel:
                wait_until(lambda sentinel=sentinel: _knows(sentinel, replicas=1, sentinels=count))
        yield ports
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _knows(sentinel: redis.Redis, *, replicas: int, sentinels: int) -> bool:
    try:
        state: Any = sentinel.info("sentinel")
    except redis.RedisError:
        return False
    return (state["master0"]["slaves"], state["master0"]["sentinels"]) == (replicas, sentinels)


def master_port(sentinel_port: int) -> int:
    with redis.Redis(port=sentinel_port, protocol=2) as sentinel:
        return int(sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")[1])


def test_sentinel_follows_the_master(make_cache: MakeCache, organization: UUID, tmp_path: Path) -> None:
    with ExitStack() as master_lives, ExitStack() as rest:
        first = master_lives.enter_context(redis_server.start())
        second = rest.enter_context(redis_server.start("--replicaof", "127.0.0.1", str(port_of(first))))
        ports = rest.enter_context(sentinels(tmp_path, first))
        nobody = redis_server.free_port()
        places = ",".join(f"127.0.0.1:{port}" for port in (nobody, *ports))
        cache = make_cache(f"redis+sentinel://{places}/mymaster/0", probe_seconds=0.1)
        works(cache, organization)
        assert make_cache(f"redis+sentinel://{places}/another").ping() is None

        # A master that refuses writes has become a replica: the Sentinels are queried again.
        with client(first) as raw:
            raw.replicaof("127.0.0.1", nobody)
            assert cache.put(organization, KIND, "a", prediction("refused")) is PutOutcome.REFUSED
            assert cache.statistics()["connections"] == 0
            raw.replicaof("no", "one")
        wait_until(lambda: cache.put(organization, KIND, "a", prediction("again")) is PutOutcome.STORED)

        # The master dies, the replica takes over.
        master_lives.close()
        assert cache.put(organization, KIND, "a", prediction("lost")) is PutOutcome.UNAVAILABLE
        wait_until(lambda: all(master_port(port) == port_of(second) for port in ports))
        wait_until(lambda: cache.put(organization, KIND, "a", prediction("later")) is PutOutcome.STORED)
        answer = cache.get(organization, KIND, "a")
        assert answer is not None
        assert answer.value == "later"
        with client(second) as raw:
            assert raw.exists(space("pred", organization, KIND).key("a"))


class Cluster:
    """Three masters that share the slots."""

    def __init__(self, urls: list[str]) -> None:
        self.urls = urls
        self.raw = [client(url) for url in urls]
        self.ids: list[str] = [_text(raw.execute_command("CLUSTER", "MYID")) for raw in self.raw]
        shares = [range(5461), range(5461, 10923), range(10923, 16384)]
        for raw, share in zip(self.raw, shares, strict=True):
            raw.execute_command("CLUSTER", "ADDSLOTS", *share)
        for url in urls[1:]:
            self.raw[0].execute_command("CLUSTER", "MEET", "127.0.0.1", port_of(url))
        wait_until(self.agrees)

    def agrees(self) -> bool:
        infos = [_text(raw.execute_command("CLUSTER", "INFO")) for raw in self.raw]
        return all("cluster_state:ok" in info and "cluster_slots_ok:16384" in info for info in infos)

    def owner(self, organization: UUID) -> int:
        slot = hash_slot(str(organization))
        return 0 if slot < 5461 else 1 if slot < 10923 else 2

    def tenant_of(self, node: int) -> UUID:
        return next(tenant for tenant in iter(uuid4, None) if self.owner(tenant) == node)

    def close(self) -> None:
        for raw in self.raw:
            raw.close()


def _text(reply: Any) -> str:
    if isinstance(reply, dict):  # as redis-py parses CLUSTER INFO
        return "\n".join(f"{name}:{value}" for name, value in reply.items())
    return reply.decode() if isinstance(reply, bytes) else str(reply)


def _cluster_port() -> int:
    """A port whose cluster bus, 10,000 higher, is a port too."""
    return next(port for port in iter(redis_server.free_port, None) if port < 55_000)


CLUSTER_OPTIONS = (
    "--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no",
)  # fmt: skip


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with ExitStack() as stack:
        urls = [
            stack.enter_context(redis_server.start(*CLUSTER_OPTIONS, port=_cluster_port())) for _ in range(3)
        ]
        made = Cluster(urls)
        stack.callback(made.close)
        yield made


def cluster_url(*urls: str) -> str:
    return "redis+cluster://" + ",".join(f"127.0.0.1:{port_of(url)}" for url in urls)


def test_a_cluster_is_learnt_from_any_of_its_nodes(make_cache: MakeCache, cluster: Cluster) -> None:
    nobody = f"redis://127.0.0.1:{redis_server.free_port()}/0"
    cache = make_cache(cluster_url(cluster.urls[2]))
    tenants = [cluster.tenant_of(number % 3) for number in range(12)]
    for tenant in tenants:
        works(cache, tenant)
        cache.put_many(tenant, KIND, {number: prediction() for number in range(50)})
        assert len(cache.get_many(tenant, KIND, range(50))) == 50
    assert cache.statistics()["connections"] == 3
    for number, raw in enumerate(cluster.raw):
        names: Any = raw.keys("pred:v2:*")
        stored = {UUID(name.decode().partition("{")[2][:36]) for name in names}
        assert stored == {tenant for tenant in tenants if cluster.owner(tenant) == number}
    other = make_cache(cluster_url(nobody, *cluster.urls), failures_to_open=1)
    wait_until(lambda: other.get(tenants[0], KIND, 7) is not None)  # the dead seed is left for the others


def test_a_slot_that_moves(make_cache: MakeCache, cluster: Cluster) -> None:
    tenant = cluster.tenant_of(0)
    slot = hash_slot(str(tenant))
    cache = make_cache(cluster_url(cluster.urls[0]))
    cache.put(tenant, KIND, "a", prediction("moving"))
    source, target = cluster.raw[0], cluster.raw[1]
    target.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.ids[0])
    source.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.ids[1])
    names: Any = source.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100)
    assert len(names) == 3

    def migrate(*keys: Any) -> None:
        source.execute_command("MIGRATE", "127.0.0.1", port_of(cluster.urls[1]), "", 0, 5000, "KEYS", *keys)

    migrate(names[0])  # half there, half here: no server can answer for all of them at once
    assert cache.get(tenant, KIND, "a") is None
    answer = cache.get_or_compute(tenant, KIND, "a", lambda: prediction("read"))
    assert answer is not None
    assert (answer.source, answer.value) == ("database", "read")
    assert cache.statistics()["breaker"] == "closed"
    migrate(*names[1:])
    moved = cache.get(tenant, KIND, "a")  # "ask the other one, this once"
    assert moved is not None
    assert moved.value == "moving"
    for raw in cluster.raw:
        raw.execute_command("CLUSTER", "SETSLOT", slot, "NODE", cluster.ids[1])
    works(cache, tenant)
    assert target.exists(space("pred", tenant, KIND).key("b"))


def test_a_node_that_is_down_concerns_its_own_tenants_only(make_cache: MakeCache, cluster: Cluster) -> None:
    cache = make_cache(cluster_url(*cluster.urls), probe_seconds=0.1, max_probe_seconds=0.2)
    dead, alive = cluster.tenant_of(1), cluster.tenant_of(2)
    for tenant in (dead, alive):
        works(cache, tenant)
        cache.put(tenant, KIND, "a", prediction("kept"))
    cluster.raw[1].shutdown(nosave=True)
    for _ in range(5):
        answer = cache.get_or_compute(dead, KIND, "a", prediction)
        assert answer is not None
        assert answer.source == "database"
        assert cache.get(alive, KIND, "a") is not None
    assert cache.statistics()["breaker"] in ("open", "half-open")
    # Another server takes over the slots: any node reports it.
    start, end = 5461, 10922
    slots = range(start, end + 1)
    for raw in (cluster.raw[0], cluster.raw[2]):
        raw.execute_command("CLUSTER", "DELSLOTS", *slots)
    cluster.raw[2].execute_command("CLUSTER", "ADDSLOTS", *slots)
    cluster.raw[2].execute_command("CLUSTER", "BUMPEPOCH")
    wait_until(lambda: cache.put(dead, KIND, "a", prediction()) is PutOutcome.STORED)
    assert cluster.raw[2].exists(space("pred", dead, KIND).key("a"))
