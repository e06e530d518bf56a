"""Keeps one engine process per served model alive, always at the same address."""

import contextlib
import http.client
import os
import platform
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time

import msgspec
import structlog

from tollway.engine.child_config import ChildConfig
from tollway.engine.endpoint import EngineEndpoint
from tollway.engine.errors import EngineError, loading_hint
from tollway.engine.facts import ModelFacts
from tollway.engine.memory import plan_context
from tollway.engine.store import ModelStore
from tollway.settings import Settings

START_SECONDS_MAX = 600.0
"""A large model on a slow disk takes minutes to load."""
BACKOFF_SECONDS_MIN, BACKOFF_SECONDS_MAX = 0.2, 10.0
"""The pause doubles from engine to engine that dies before it is ready; one that was ready is back as soon as can be."""
STOP_SECONDS_MAX = 2.0
_POLL_SECONDS = 0.03
_PORT_TRIES_MAX = 5
_LOG_TAIL_CHARACTERS = 600
_CAN_RESERVE_PORTS = platform.system() == "Linux"
_HANDED_DOWN = ("PATH", "HOME", "TMPDIR", "LANG", "VIRTUAL_ENV")
_HANDED_DOWN_PREFIXES = ("LC_", "LD_", "DYLD_", "PYTHON", "OMP_", "GGML_")

log = structlog.get_logger()


class Supervisor:
    """Used by the server's main process; the workers get `endpoints()`. Synchronous; a thread watches each engine."""

    def __init__(self, settings: Settings, store: ModelStore) -> None:
        """Raises EngineError when a model that `local_models` names is not there or broken."""
        self._engines = [_Engine(settings, store, facts) for facts in served_models(settings, store)]

    def start(self) -> None:
        """Starts all engines side by side and returns when each answers.

        Raises EngineError, with nothing left running, when one does not come up. From then on an engine that dies is started
        again, for ever, after a pause that grows from 0.2 s to 10 s.
        """
        try:
            for engine in self._engines:
                engine.spawn()
            for engine in self._engines:
                engine.first_ready()
        except BaseException:
            self.stop()
            raise
        for engine in self._engines:
            engine.watch()

    def stop(self) -> None:
        """Ends all engines, whatever they are doing. May be called again."""
        for engine in self._engines:
            engine.ask_to_stop()
        for engine in self._engines:
            engine.stop()

    def endpoints(self) -> list[EngineEndpoint]:
        """Valid after `start`, and for the life of this object: restarts change nothing."""
        return [engine.endpoint() for engine in self._engines]


def served_models(settings: Settings, store: ModelStore) -> list[ModelFacts]:
    """The models that `local_models` selects. With `all`, broken ones are left out and logged."""
    if settings.local_models == "none":
        return []
    if settings.local_models == "all":
        for problem in store.broken():
            log.warning("model_left_out", reason=str(problem))
        return list(store.list())
    return [store.get(name) for name in settings.local_names]


def _silent_tokens(facts: ModelFacts, store: ModelStore) -> dict[str, int]:
    if facts.silent_tokens is not None:
        return facts.silent_tokens
    from tollway.engine.gguf_facts import read_silent_tokens  # takes NumPy along, which a server does not need

    return read_silent_tokens(store.model_path(facts.name))


class _Engine:
    """One model's process: its address and key are chosen once, its process comes and goes."""

    def __init__(self, settings: Settings, store: ModelStore, facts: ModelFacts) -> None:
        self.facts = facts
        self.process: subprocess.Popen[bytes] | None = None
        self._settings = settings
        self._store = store
        self._context_tokens, self._pool_tokens = plan_context(facts, settings.engine_slots, settings.engine_context_tokens)
        self._api_key = secrets.token_urlsafe(32)
        self._silent_tokens = _silent_tokens(facts, store)
        self._image_mark = f"<__image_{secrets.token_hex(16)}__>"
        self._reservation, self._port = _free_port()
        self._log_path = settings.home / f"engine-{facts.name}.log"
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None

    def endpoint(self) -> EngineEndpoint:
        return EngineEndpoint(
            model=self.facts.name,
            title=self.facts.title,
            developer=self.facts.developer,
            url=f"http://127.0.0.1:{self._port}",
            api_key=self._api_key,
            image_mark=self._image_mark,
            slots=self._settings.engine_slots,
            queue_max=self._settings.engine_queue_max,
            context_tokens=self._context_tokens,
            pool_tokens=self._pool_tokens,
            special_tokens=self.facts.special_tokens,
            end_tokens=list(self.facts.end_tokens),
            end_token_ids=list(self.facts.end_tokens.values()),
            silent_tokens=self._silent_tokens,
            thinks=self.facts.thinks,
            sees=self.facts.sees,
            vocabulary_path=str(self._store.vocabulary_path(self.facts.name)),
        )

    def spawn(self) -> None:
        projector = self._store.projector_path(self.facts.name)
        config = ChildConfig(
            model_path=str(self._store.model_path(self.facts.name)),
            projector_path=str(projector) if projector else None,
            port=self._port,
            port_is_reserved=self._reservation is not None,
            api_key=self._api_key,
            image_mark=self._image_mark,
            slots=self._settings.engine_slots,
            pool_tokens=self._pool_tokens,
            threads=self._settings.engine_threads,
            # A stream holds a thread until it ends, and one that waits for a slot does so too.
            http_threads=self._settings.engine_slots + self._settings.engine_queue_max + 8,
            # It drafts only where the context repeats itself: code being edited comes about twice as fast, chat as before.
            # llama.cpp does not draft for every kind of image prompt, so models that see do without.
            speculation="none" if projector else "ngram_map_k",
            parent_pid=os.getpid(),
        )
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        log_file = os.open(self._log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tollway.engine.child"],
                stdin=subprocess.PIPE,
                stdout=log_file,
                stderr=log_file,
                env=_environment(),
                start_new_session=True,  # a terminal and some supervisors tell the whole group; when it ends is our decision
            )
        finally:
            os.close(log_file)
        assert self.process.stdin  # noqa: S101  (a pipe, as asked for above)
        with contextlib.suppress(BrokenPipeError):  # it died at once; waiting for it will tell
            self.process.stdin.write(msgspec.json.encode(config) + b"\n")
            self.process.stdin.flush()

    def first_ready(self) -> None:
        """Waits for the engine; tries other ports while nobody knows this one. Raises EngineError."""
        for _ in range(_PORT_TRIES_MAX):
            if self._wait_until_ready():
                return
            if not self._port_is_taken():
                break
            self._hang_up()
            self._reservation, self._port = _free_port()
            self.spawn()
        ended = self._how_it_ended()
        hint = f" {loading_hint(ended)}" if "SIGILL" in ended else ""
        raise EngineError(
            f"The engine of the model {self.facts.name} did not start ({ended}).{hint} {self._log_path} ends with:"
            f" {self._log_tail() or 'nothing'}"
        )

    def watch(self) -> None:
        self._watcher = threading.Thread(target=self._keep_alive, name=f"engine-{self.facts.name}", daemon=True)
        self._watcher.start()

    def _keep_alive(self) -> None:
        assert self.process  # noqa: S101  (watched after spawn)
        pause = BACKOFF_SECONDS_MIN
        while not self._stopping.is_set():
            self.process.wait()
            self._hang_up()
            if self._stopping.is_set():
                return
            log.warning(
                "engine_died", model=self.facts.name, how=self._how_it_ended(), log=self._log_tail(), restart_in_seconds=pause
            )
            if self._stopping.wait(pause):
                return
            pause, born = min(2 * pause, BACKOFF_SECONDS_MAX), time.monotonic()
            try:
                self.spawn()
            except OSError as error:  # out of processes or memory: the next round tries again
                log.warning("engine_not_started", model=self.facts.name, error=str(error))
                continue
            if self._wait_until_ready():
                pause = BACKOFF_SECONDS_MIN
                log.info("engine_ready", model=self.facts.name, seconds=round(time.monotonic() - born, 2))

    def _wait_until_ready(self) -> bool:
        """False when the process ended instead, or took too long and was killed."""
        assert self.process  # noqa: S101
        deadline = time.monotonic() + START_SECONDS_MAX
        while self.process.poll() is None and not self._stopping.is_set():
            if self._healthy():
                return True
            if time.monotonic() > deadline:
                self.process.kill()
                self.process.wait()
            time.sleep(_POLL_SECONDS)
        return False

    def _healthy(self) -> bool:
        """Whether our engine has loaded its model; the key tells it from a stranger on its port."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=2)
        try:
            connection.request("GET", "/slots", headers={"Authorization": f"Bearer {self._api_key}"})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _port_is_taken(self) -> bool:
        """Whether somebody else has our port. The engine's log does not always say so: it may end before its log is written."""
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT if self._reservation else socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self._port))
            except OSError:
                return True
        return False

    def ask_to_stop(self) -> None:
        self._stopping.set()
        self._hang_up()

    def _hang_up(self) -> None:
        """Closes the engine's stdin: its sign to end."""
        if self.process and self.process.stdin:
            with contextlib.suppress(OSError):
                self.process.stdin.close()

    def stop(self) -> None:
        self.ask_to_stop()
        if self._watcher:
            self._watcher.join(STOP_SECONDS_MAX)
        self.ask_to_stop()  # the watcher may have been in the middle of a restart
        if self.process:
            try:
                self.process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self._reservation:
            self._reservation.close()

    def _how_it_ended(self) -> str:
        status = self.process.returncode if self.process else None
        if status is None:
            return "it does not answer"
        return f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"

    def _log_tail(self) -> str:
        try:
            return self._log_path.read_text(encoding="utf-8", errors="replace").strip()[-_LOG_TAIL_CHARACTERS:]
        except OSError:
            return ""


def _free_port() -> tuple[socket.socket | None, int]:
    """A free port of the loopback, and on Linux a socket that keeps it ours while no engine runs.

    Bound but not listening, the socket takes no connections, and the engine joins it with SO_REUSEPORT. Other systems may hand
    connections to such a socket, so there the port is left free between two engines.
    """
    reservation = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if _CAN_RESERVE_PORTS:
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reservation.bind(("127.0.0.1", 0))
    port: int = reservation.getsockname()[1]
    if _CAN_RESERVE_PORTS:
        return reservation, port
    reservation.close()
    return None, port


def _environment() -> dict[str, str]:
    """What an engine needs of our environment: no keys of ours, no variable that llama.cpp would take for a setting."""
    return {name: value for name, value in os.environ.items() if name in _HANDED_DOWN or name.startswith(_HANDED_DOWN_PREFIXES)}
