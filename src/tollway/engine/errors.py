"""What can go wrong with models and engines. Messages are for the operator: one clear line that says what to do."""


class EngineError(Exception):
    """Base. The command line prints the message and exits with 1."""


class ModelFileError(EngineError):
    """The file is not a model that can be used: no GGUF, truncated, hostile, or other bytes than expected."""


class ModelNotPulled(EngineError):
    """No such model in the store."""


class ModelBroken(EngineError):
    """The model's folder is there, but its description or file is not."""


class PullError(EngineError):
    """The model could not be fetched."""
