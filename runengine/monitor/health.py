"""The container's health check: when to probe, what the results mean, who is told.

Docker's rules (Docker's reference, Dockerfile HEALTHCHECK). Loaded for containers that have one.
"""

from __future__ import annotations

import time

from runengine.linux import clock, fsatomic
from runengine.monitor import cgroup, wire
from runengine.monitor.loop import stat_fields
from runengine.monitor.probe import FAILED, Probe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runengine.monitor.loop import Loop, Timer
    from runengine.monitor.programs import Programs
    from runengine.monitor.protocol import HealthSpec, Job

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
PF_EXITING = 0x4
"""Flag of a process that is on its way out (Linux, include/linux/sched.h)."""
REMEMBERED = 5
"""Results in the log."""
STUCK_S = 10.0
"""How long a killed probe may take to end before that counts as a failure, each time again."""


class Verdict:
    """What a series of probes says. Ages are seconds since the container's start."""

    __slots__ = (
        "_interval_s",
        "_retries",
        "_start_interval_s",
        "_start_period_s",
        "failing_streak",
        "status",
    )

    def __init__(self, spec: HealthSpec) -> None:
        self._interval_s = spec["interval_s"]
        self._start_interval_s = spec["start_interval_s"]
        self._start_period_s = spec["start_period_s"]
        self._retries = spec["retries"]
        self.status = STARTING
        self.failing_streak = 0

    def wait_s(self, age_s: float) -> float:
        """From now to the next probe."""
        early = self.status == STARTING and age_s < self._start_period_s
        return self._start_interval_s if early else self._interval_s

    def judge(self, exit_code: int, age_s: float) -> bool:
        """Take a result of a probe that began at ``age_s``; whether the status has changed.

        Within the start period a failure does not count, until there was a success.
        """
        before = self.status
        if exit_code == 0:
            self.failing_streak = 0
            self.status = HEALTHY
        elif self.status != STARTING or age_s >= self._start_period_s:
            self.failing_streak += 1
            if self.failing_streak >= self._retries:
                self.status = UNHEALTHY
        return self.status != before


class Health:
    """Probes one container, one probe at a time, until its end."""

    def __init__(
        self,
        loop: Loop,
        programs: Programs,
        job: Job,
        spec: HealthSpec,
        init_pid: int,
        complain: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._programs = programs
        self._job = job
        self._spec = spec
        self._init_pid = init_pid
        self._complain = complain
        self._verdict = Verdict(spec)
        self._log: list[dict[str, Any]] = []
        self._started = time.monotonic()
        self._probe: Probe | None = None
        self._probe_age_s = 0.0
        self._probe_began_at = ""
        self._timer: Timer | None = None
        self._over = False
        self._on_idle: Callable[[], None] | None = None

    def begin(self) -> None:
        """The container has started."""
        self._write()
        self._set_timer(self._verdict.wait_s(0), self._tick)

    def end(self) -> None:
        """The container has ended: no more probes, and no result of one that runs."""
        self._over = True
        if self._timer:
            self._timer.cancel()
        if self._probe:
            self._probe.cancel()

    def when_idle(self, action: Callable[[], None]) -> None:
        """After ``end``: call ``action`` once the last probe is gone."""
        self._on_idle = action
        self._check_idle()

    def _check_idle(self) -> None:
        if self._on_idle and not self._probe:
            action, self._on_idle = self._on_idle, None
            action()

    def _set_timer(self, seconds: float, action: Callable[[], None]) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.later(seconds, action)

    def _age_s(self) -> float:
        return time.monotonic() - self._started

    def _paused(self) -> bool:
        return cgroup.is_frozen(self._job["cgroup"])

    def _wait(self) -> None:
        self._set_timer(self._verdict.wait_s(self._age_s()), self._tick)

    def _tick(self) -> None:
        if self._paused():
            self._wait()
            return
        self._probe_age_s = self._age_s()
        self._probe_began_at = clock.now()
        self._probe = Probe(
            self._loop, self._programs, self._job, self._spec, self._on_result, self._on_gone
        )
        self._probe.begin()

    def _on_result(self, exit_code: int, output: str) -> None:
        # A pause between the tick and now makes any probe fail, and so does the container's end:
        # the kernel kills what is in a pid namespace before its init can be waited for.
        if exit_code == 0 or not (self._paused() or is_exiting(self._init_pid)):
            self._record(exit_code, output)
        self._set_timer(STUCK_S, self._stuck)

    def _on_gone(self) -> None:
        self._probe = None
        if self._over:
            self._check_idle()
        else:
            self._wait()

    def _stuck(self) -> None:
        """No new probe beside one that cannot be killed, but no good news either."""
        if not self._paused():
            self._probe_age_s = self._age_s()
            self._record(FAILED, "the last health check was killed, but has not ended yet")
        self._set_timer(STUCK_S, self._stuck)

    def _record(self, exit_code: int, output: str) -> None:
        changed = self._verdict.judge(exit_code, self._probe_age_s)
        entry = {
            "Start": self._probe_began_at,
            "End": clock.now(),
            "ExitCode": exit_code,
            "Output": output,
        }
        self._log = [*self._log, entry][-REMEMBERED:]
        self._write()
        if changed:
            from runengine.monitor.journal import note

            note(self._job, f"health_status: {self._verdict.status}", {})

    def _write(self) -> None:
        document = {
            "Status": self._verdict.status,
            "FailingStreak": self._verdict.failing_streak,
            "Log": self._log,
        }
        try:
            fsatomic.replace(self._spec["path"], wire.dumps(document), durable=False)
        except OSError as error:
            self._complain(f"cannot write {self._spec['path']}: {error}")


def is_exiting(pid: int) -> bool:
    """Whether our child ``pid`` has begun to exit (proc_pid_stat(5), field 9)."""
    fields = stat_fields(pid)[1]
    return not fields or bool(int(fields[6]) & PF_EXITING)
