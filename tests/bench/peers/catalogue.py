"""The job systems that are compared, and their settings: workers on two cores, late acknowledgement where it exists, what their
own documentation recommends for many short jobs, else their defaults. Results are not kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.peers import servers
from tests.bench.peers.servers import Serve


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A job system. `command`: starts a worker in the folder `apps`; `{url}` is replaced by the server's URL."""

    name: str
    app: str
    packages: Sequence[str]
    shown: Sequence[str]
    serve: Serve
    command: str
    copies: int = 1
    prepare: str = ""
    note: str

    @property
    def environment(self) -> str:
        """Peers of one app share one."""
        return self.app.removesuffix("_app")


HUEY = "huey_consumer huey_app.huey -k process -w 2 -n"
RQ = "rq worker-pool -n 2 -q -u {url}"

PEERS: tuple[Peer, ...] = (
    Peer(
        name="Huey, Redis", app="huey_app", packages=("huey", "redis"), shown=("huey", "redis"), serve=servers.redis, command=HUEY,
        note="takes a job off the queue before it runs: there is no late acknowledgement",
    ),
    Peer(
        name="Huey, SQLite", app="huey_app", packages=("huey", "redis"), shown=("huey",), serve=servers.file,
        command=f"{HUEY} -d 0.005 -m 0.02",
        note="polls: every 5 to 20 ms here, by default every 0.1 to 10 s; otherwise as on Redis",
    ),
    Peer(
        name="Dramatiq, Redis", app="dramatiq_app", packages=("dramatiq[redis]",), shown=("dramatiq", "redis"), serve=servers.redis,
        command="dramatiq dramatiq_app --processes 2 --threads 8 --skip-logging",
        note="acknowledges late by itself; 8 threads are its default",
    ),
    Peer(
        name="Celery, Redis", app="celery_app", packages=("celery[redis]",), shown=("celery", "redis"), serve=servers.redis,
        command="celery -A celery_app worker -P prefork -c 2 -l ERROR --without-gossip --without-mingle --without-heartbeat",
        note="acks_late, reject_on_worker_lost, prefetch multiplier 64 as its guide says for short tasks, results ignored",
    ),
    Peer(
        name="taskiq, Redis", app="taskiq_app", packages=("taskiq", "taskiq-redis"), shown=("taskiq", "taskiq-redis", "redis"),
        serve=servers.redis, command="taskiq worker taskiq_app:broker --workers 2 --ack-type when_executed --log-level ERROR",
        note="the stream broker, the one that acknowledges; an async task",
    ),
    Peer(
        name="procrastinate, PostgreSQL", app="procrastinate_app", packages=("procrastinate", "psycopg[binary,pool]"),
        shown=("procrastinate", "psycopg"), serve=servers.postgres, prepare="python procrastinate_app.py",
        command="procrastinate -a procrastinate_app.app worker -c 10", copies=2,
        note="two workers of 10 at once; an async task; submitted by the thousand",
    ),
    Peer(
        name="RQ, Redis", app="rq_app", packages=("rq",), shown=("rq", "redis"), serve=servers.redis, command=RQ,
        note="its default worker, which forks for each job; submitted by the thousand",
    ),
    Peer(
        name="RQ SimpleWorker, Redis", app="rq_app", packages=("rq",), shown=("rq", "redis"), serve=servers.redis,
        command=f"{RQ} -w rq.worker.SimpleWorker", note="does not fork: a job that crashes takes its worker along",
    ),
)  # fmt: skip
"""In the order in which they are measured."""
