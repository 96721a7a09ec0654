"""What goes wrong in a run: each seed draws some kinds of trouble and leaves out the others, so that each kind also comes
alone.
"""

from __future__ import annotations

from collections.abc import Callable

from jobyard.engine.wire.messages import CancelJob, RetryJob
from tests.simulation.clients import Clients
from tests.simulation.host import NAMES, Host, Town

KINDS = (
    "crashes at any effect", "kills", "cuts", "outages", "refusals", "lost replies", "broken disk", "slow store", "slow network",
    "lost hints", "pauses", "restarts", "stops", "host crashes", "clock steps", "failing tasks", "dying children",
    "no children", "hanging tasks", "cancellations", "repeated requests", "hosts cut off", "frozen hosts",
    "template deaths", "template hangs", "reloads",
)  # fmt: skip


AMONG_HOSTS = ("hosts cut off", "frozen hosts")
"""Where there are several, they always have this trouble."""


class Trouble:
    """All that goes wrong until it is `over`."""

    def __init__(self, town: Town, hosts: list[Host], clients: Clients, *, lasts_s: float) -> None:
        self._town = town
        self._agenda = town.agenda
        self._hosts = hosts
        self._clients = clients
        self._lasts_s = lasts_s
        self._is_over = False
        chance = self._agenda.chance
        share = chance.choice([0.0, 0.15, 0.3, 0.6])
        self.kinds = [kind for kind in KINDS if chance.random() < share or (len(hosts) > 1 and kind in AMONG_HOSTS)]

    def begin(self) -> None:
        """Set the rates, and plan what comes at a time."""
        self._set_rates()
        for kind, (mean_s, act) in self._incidents().items():
            if kind in self.kinds:
                self._repeat(mean_s, act)

    def end(self) -> None:
        """Nothing goes wrong any more; what is down comes back by itself."""
        self._is_over = True
        self._agenda.note("trouble", "is over")
        town, labour = self._town, self._town.labour
        labour.death_rate = labour.hang_rate = labour.hire_failure_rate = self._clients.repeat_rate = 0.0
        labour.failure_rate = 0.1
        town.weather.slow_rate = town.weather.hint_loss = 0.0
        for host in self._hosts:
            host.world.wall_offset_s = host.world.right_offset_s
            host.crash_rate = 0.0
            host.store_weather.clear_up()
            for process in host.processes():
                process.crash_rate = 0.0

    def _set_rates(self) -> None:
        chance, labour = self._agenda.chance, self._town.labour
        rates: dict[str, Callable[[], None]] = {
            "crashes at any effect": lambda: self._set_crash_rate(chance.choice([0.002, 0.01, 0.03])),
            "refusals": lambda: self._worsen(refusal_rate=chance.choice([0.01, 0.1])),
            "lost replies": self._lose_replies,
            "broken disk": lambda: self._worsen(broken_rate=0.002),
            "slow store": self._slow_the_store,
            "slow network": self._slow_the_network,
            "lost hints": lambda: setattr(self._town.weather, "hint_loss", chance.choice([0.3, 1.0])),
            "failing tasks": lambda: setattr(labour, "failure_rate", 0.4),
            "hanging tasks": lambda: setattr(labour, "hang_rate", 0.2),
            "dying children": lambda: setattr(labour, "death_rate", 0.1),
            "no children": lambda: setattr(labour, "hire_failure_rate", 0.3),
            "repeated requests": lambda: setattr(self._clients, "repeat_rate", 0.5),
        }
        for kind in self.kinds:
            if kind in rates:
                rates[kind]()

    def _incidents(self) -> dict[str, tuple[float, Callable[[], None]]]:
        """How often, on average, and what."""
        return {
            "kills": (8.0, lambda: self._a_host().network.processes[self._a_name()].kill()),
            "cuts": (5.0, self._cut),
            "outages": (15.0, lambda: self._cut_off(self._hosts)),
            "hosts cut off": (15.0, lambda: self._cut_off([self._a_host()])),
            "frozen hosts": (20.0, self._freeze),
            "template deaths": (10.0, lambda: self._a_host().templates.kill()),
            "template hangs": (15.0, self._hang_template),
            "reloads": (8.0, lambda: self._reload(self._a_host())),
            "pauses": (10.0, lambda: self._a_host().pause(self._a_name(), self._agenda.chance.choice([0.05, 1.0, 5.0, 20.0]))),
            "restarts": (15.0, lambda: self._a_host().restart(self._a_name())),
            "stops": (30.0, lambda: self._a_host().stop()),
            "host crashes": (30.0, lambda: self._a_host().crash(self._agenda.between(0, 10))),
            "clock steps": (15.0, self._step_clock),
            "cancellations": (1.5, self._change_something),
        }

    def _repeat(self, mean_s: float, act: Callable[[], None]) -> None:
        def happen() -> None:
            if not self._is_over:
                act()
                plan()

        def plan() -> None:
            self._agenda.after(self._agenda.chance.expovariate(1 / mean_s), happen)

        plan()

    def _set_crash_rate(self, rate: float) -> None:
        for host in self._hosts:
            host.crash_rate = rate
            for process in host.processes():
                process.crash_rate = rate

    def _worsen(self, **rates: float) -> None:
        for host in self._hosts:
            for name, rate in rates.items():
                setattr(host.store_weather, name, rate)

    def _lose_replies(self) -> None:
        self._worsen(lost_reply_rate=self._agenda.chance.choice([0.02, 0.1]), is_partial=self._agenda.happens(0.5))

    def _slow_the_store(self) -> None:
        self._worsen(delay_rate=0.3, delay_s=self._agenda.chance.choice([0.05, 0.5, 8.0]))

    def _slow_the_network(self) -> None:
        self._town.weather.slow_rate = self._agenda.chance.choice([0.05, 0.3])
        self._town.weather.slow_latency_s = self._agenda.chance.choice([0.05, 2.0])

    def _cut(self) -> None:
        ends = [end for process in self._a_host().processes() for end in process.ends if end.is_open and not end.is_private]
        if ends:
            end = self._agenda.chance.choice(ends)
            self._agenda.note("trouble", "cuts a connection")
            end.cut()

    def _cut_off(self, hosts: list[Host]) -> None:
        """The store is out of reach for these."""
        seconds = self._agenda.chance.choice([0.05, 1.0, 8.0, 14.0, 20.0, 40.0])
        self._agenda.note("trouble", "the store is gone for", [host.name for host in hosts], seconds)
        for host in hosts:
            host.store_weather.down_until = max(host.store_weather.down_until, self._agenda.now + seconds)

    def _freeze(self) -> None:
        """Until the trouble is over at the latest."""
        seconds = min(self._agenda.chance.choice([0.5, 5.0, 25.0]), self._lasts_s - self._agenda.now)
        self._a_host().freeze(seconds)

    def _hang_template(self) -> None:
        seconds = self._agenda.chance.choice([0.05, 2.0, 5.0, 20.0])
        self._a_host().templates.hang(seconds, self._town.settings.hang_s)

    def _reload(self, host: Host) -> None:
        if host.is_up:
            host.templates.start()

    def _step_clock(self) -> None:
        host = self._a_host()
        seconds = self._agenda.chance.choice([-3600.0, -40.0, -3.0, 3.0, 40.0, 60.0])
        self._agenda.note(host.name, "its wall clock is set by", seconds)
        host.world.wall_offset_s += seconds
        self._town.judge.clocks_are_right = False

    def _change_something(self) -> None:
        self._clients.cancel_or_retry(self._agenda.chance.choice([CancelJob, CancelJob, RetryJob]))

    def _a_host(self) -> Host:
        return self._agenda.chance.choice(self._hosts)

    def _a_name(self) -> str:
        return self._agenda.chance.choice(NAMES)
