"""Watches a serving process in as little memory as Python can: what starts a server becomes this once it has.

Run by its path, without site-packages (`python -I -S watcher.py PID STOP_S COMMAND...`): the library that starts
servers takes four times as much, and a parent would hold it for nothing. The process to watch is a child already: exec
changes neither process. Told to end, this passes it on; after a serving process that died by itself it becomes
`COMMAND`, by exec, which starts another one.
"""

# nothing of typing or collections.abc: they would be a third more
import os
import signal
import sys
import time

WATCHED = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD})
"""Blocked from before the fork on and waited for here, so that none is missed."""

SOON_S = 6.0
"""A process that was started anew and has died within this time would only die again."""

RESTARTED_VARIABLE = "CC_BACKEND_RESTARTED_S"


def main() -> None:
    """Watch what the command line names; then end, or start another one."""
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    pid, stop_s, *command = sys.argv[1:]
    status = watch(int(pid), float(stop_s))
    if status is None:
        sys.exit(0)
    now_s = time.monotonic()
    if now_s - float(os.environ.get(RESTARTED_VARIABLE, "-inf")) < SOON_S:
        _say(f"the serving process ended again, status {status}; giving up")
        sys.exit(1)
    _say(f"the serving process ended, status {status}; starting it again")
    os.execve(command[0], command, {**os.environ, RESTARTED_VARIABLE: str(now_s)})  # noqa: S606 - no shell


def watch(pid: int, stop_s: float) -> int | None:
    """The exit status of a child that ended by itself, negative for a signal; None after this process was told to end.

    The child is told too, and killed if it has not ended `stop_s` later.
    """
    kill_s: float | None = None
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status) if kill_s is None else None
        if kill_s is None:
            if _tells_to_end(signal.sigwait(WATCHED)):
                kill_s = time.monotonic() + stop_s
                os.kill(pid, signal.SIGTERM)
        elif signal.sigtimedwait(WATCHED, max(0.0, kill_s - time.monotonic())) is None:
            os.kill(pid, signal.SIGKILL)
            kill_s += stop_s  # it ends at once, or hangs in the kernel


def _tells_to_end(number: int) -> bool:
    return number != signal.SIGCHLD and signal.getsignal(number) != signal.SIG_IGN  # nohup ignores SIGHUP


def _say(text: str) -> None:
    priority = "<3>" if "JOURNAL_STREAM" in os.environ else ""  # as `log` does
    sys.stderr.write(f"{priority}cc-backend: {text}\n")


if __name__ == "__main__":
    main()
