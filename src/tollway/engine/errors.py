"""What can go wrong with models and engines. Messages are for the operator: one clear line that says what to do."""


class EngineError(Exception):
    """Base. The command line prints the message and exits with 1."""


class ModelFileError(EngineError):
    """The file is not a model that can be used: no GGUF, truncated, hostile, or other bytes than expected."""


class ModelNotPulled(EngineError):
    """No such model in the store."""


class ModelBroken(EngineError):
    """The model's folder is there, but its description or file is not."""

    def __init__(self, name: str, problem: str) -> None:
        self.problem = problem
        self.mend = f"`tollway models remove {name}`, then pull it again."
        super().__init__(f"{problem} {self.mend}")


class PullError(EngineError):
    """The model could not be fetched."""


def loading_hint(reason: str) -> str:
    """What to do when the engine's library does not load, by what was said of it or by how it ended."""
    if "libgomp" in reason:
        return "Install GNU OpenMP: `apt-get install libgomp1` on Debian and Ubuntu, `dnf install libgomp` on Fedora."
    if "Illegal instruction" in reason or "SIGILL" in reason:
        return "This processor lacks instructions that the engine needs (AVX2). Upstreams work: set TOLLWAY_LOCAL_MODELS=none."
    return "Run `make clean`, then `make serve`."
