"""The supervisor: servers, then preparation, then roles, kept running until a signal, stopped in order.

What the `sagapay` command calls is in infra.local.supervisor.
"""

import os
import sys
from collections.abc import Callable
from contextlib import suppress

from infra.local.child import Child, Command
from infra.local.leftovers import end_leftovers
from infra.local.plan import Plan
from infra.local.preload import preload
from infra.local.roles import as_service, command_of, groups
from infra.local.servers import log_of
from infra.local.stack import PROBE_INTERVAL_SECONDS, Stack, StartFailed
from infra.local.state import Failure, Phase, ProcessState, StackState, exclusive, read_state
from infra.local.wakeup import Wakeup
from infra.local.watchdog import Watchdog

Report = Callable[[StackState], None]
IDLE_SECONDS = 1.0


class NotWanted(Exception):
    """A signal asked to stop before everything was ready."""


class Supervisor:
    """One run of a Plan. `run` returns the exit code: 0 after an orderly stop, 1 when the start failed."""

    def __init__(self, plan: Plan, report: Report) -> None:
        self._plan, self._report = plan, report
        self._state = StackState(supervisor_pid=os.getpid(), environment=plan.environment, addresses=plan.addresses())
        self._watchdog = Watchdog(log_of(plan.home, "watchdog")) if plan.uses_watchdog else None
        self._stack = Stack(self._watchdog, plan.local.start_timeout_seconds, self._publish)

    def run(self) -> int:
        """Start, keep running until a stop signal, stop. Raises nothing for a failed start: stack.json says it."""
        with Wakeup() as wakeup, suppress(NotWanted):
            try:
                self._start(wakeup)
                self._enter("ready")
                while not wakeup.stop_wanted:
                    wakeup.wait(IDLE_SECONDS if self._stack.tick() else PROBE_INTERVAL_SECONDS)
            except StartFailed as failure:
                self._state.failure = Failure(name=failure.name, reason=failure.reason, log=failure.log)
            finally:
                self._stop()
        return 1 if self._state.failure else 0

    def _start(self, wakeup: Wakeup) -> None:
        plan = self._plan
        self._enter("starting")
        if busy := plan.busy_ports():
            raise StartFailed("ports", "; ".join(busy), None)
        self._stack.start(plan.servers.services)
        loaded = plan.local.preload and self._preload(wakeup)
        self._until_ready(wakeup)
        self._prepare(command_of(plan.prepare, plan.home, plan.environment, loaded), wakeup)
        commands = {role: command_of(role, plan.home, plan.environment, loaded) for role in plan.roles}
        for group in groups(plan.roles):
            self._stack.start(as_service(role, plan.home, plan.settings, commands[role]) for role in group)
        self._until_ready(wakeup)

    def _preload(self, wakeup: Wakeup) -> bool:
        modules = [role.module for role in (self._plan.prepare, *self._plan.roles) if role.module]

        def go_on() -> bool:
            self._stack.tick()
            return not wakeup.stop_wanted

        return bool(modules) and preload(modules, self._plan.environment, go_on)

    def _until_ready(self, wakeup: Wakeup) -> None:
        if not self._stack.wait_ready(lambda: not wakeup.stop_wanted):
            raise NotWanted

    def _prepare(self, command: Command, wakeup: Wakeup) -> None:
        child = Child(command, self._watchdog)
        try:
            code = child.wait(self._plan.local.start_timeout_seconds, lambda: not wakeup.stop_wanted)
        finally:
            child.stop(grace_seconds=0)
        if wakeup.stop_wanted:
            raise NotWanted
        if code != 0:
            reason = "took too long" if code is None else f"ended with code {code}"
            raise StartFailed(command.name, reason, command.log)

    def _stop(self) -> None:
        self._enter("stopping")
        self._stack.stop(self._plan.local.stop_grace_seconds)
        if self._watchdog:
            self._watchdog.close()
        self._enter("failed" if self._state.failure else "stopped")

    def _enter(self, phase: Phase) -> None:
        self._state.phase = phase
        self._publish()

    def _publish(self) -> None:
        self._state.processes = {
            unit.service.name: ProcessState(
                pid=unit.pid, status=unit.status, restarts=unit.restarts, log=unit.service.command.log
            )
            for unit in self._stack.units
        }
        try:
            self._state.write(self._plan.home)
        except OSError as error:  # A full disk is no reason to stop what still runs.
            sys.stderr.write(f"stack.json cannot be written: {error}\n")
        self._report(self._state)


def supervise(plan: Plan, report: Report) -> int:
    """Hold the state directory and run the plan in this process. Raises AlreadyRunning."""
    with exclusive(plan.home):
        before = read_state(plan.home)
        end_leftovers(
            plan.home, [process.pid for process in before.processes.values() if process.pid] if before else []
        )
        return Supervisor(plan, report).run()
