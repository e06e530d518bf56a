"""Files of the Hugging Face Hub: `hf:ORG/REPO:FILE[@REVISION]`. Tokens and HF_ENDPOINT are the hub library's own."""

import os
import re
from pathlib import Path
from types import ModuleType
from typing import Any

from msgspec import Struct

from tollway.engine.errors import PullError
from tollway.engine.progress import Progress

HUB_PREFIX = "hf:"
_PATTERN = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+):(?P<file>[^@]+?)(?:@(?P<revision>[^@]+))?")


class HubFile(Struct, frozen=True):
    repo: str
    file: str
    revision: str | None

    @classmethod
    def parse(cls, source: str) -> "HubFile":
        match = _PATTERN.fullmatch(source)
        if match is None:
            raise PullError(f"{source} is no file of the hub; write hf:ORG/REPO:FILE.gguf, or with @REVISION after it.")
        return cls(match["repo"], match["file"], match["revision"])

    @property
    def name(self) -> str:
        return Path(self.file).stem

    def identify(self, progress: Progress) -> str | None:
        """The SHA-256 that the hub states for the file; None for a small file outside of its large-file storage."""
        progress.step(f"Asking the hub for {self.repo}")
        hub = _library()
        try:
            etag = hub.get_hf_file_metadata(hub.hf_hub_url(self.repo, self.file, revision=self.revision)).etag
        except Exception as error:  # noqa: BLE001  (three libraries' errors; each means: not fetched)
            raise self._failed(error) from None
        return etag if etag and re.fullmatch(r"[0-9a-f]{64}", etag) else None

    def bring(self, target: Path, progress: Progress) -> str:
        """Downloads the file; returns where it came from, with the commit."""
        hub = _library()
        folder = target.with_suffix(".hub")
        try:
            described = hub.get_hf_file_metadata(hub.hf_hub_url(self.repo, self.file, revision=self.revision))
            progress.step(f"Downloading {self.file}", described.size)
            path = hub.hf_hub_download(
                self.repo, self.file, revision=described.commit_hash, local_dir=folder, tqdm_class=_bar(progress)
            )
        except OSError as error:
            if error.errno is not None:  # the disk's own errors are reported by the store
                raise
            raise self._failed(error) from None
        except Exception as error:  # noqa: BLE001
            raise self._failed(error) from None
        Path(path).rename(target)
        return f"{HUB_PREFIX}{self.repo}:{self.file}@{described.commit_hash}"

    def _failed(self, error: Exception) -> PullError:
        kind = type(error).__name__
        where = f"{self.repo}:{self.file}" + (f"@{self.revision}" if self.revision else "")
        reasons = {
            "RepositoryNotFoundError": "there is no such repository, or it is private: `hf auth login` first",
            "GatedRepoError": "its licence must be accepted on the hub's website, then `hf auth login`",
            "RevisionNotFoundError": "there is no such revision",
            "RemoteEntryNotFoundError": "there is no such file in the repository",
            "EntryNotFoundError": "there is no such file in the repository",
            "OfflineModeIsEnabled": "HF_HUB_OFFLINE is set",
            "ConnectError": "the hub cannot be reached; is there a network?",
            "ConnectTimeout": "the hub cannot be reached; is there a network?",
        }
        said = (str(error).strip().splitlines() or [kind])[0][:200]
        return PullError(f"{where} could not be fetched from the hub: {reasons.get(kind, f'{kind}: {said}')}.")


def _library() -> ModuleType:
    """The hub's library, imported late because it is large. It is not to report what else runs on this machine."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import huggingface_hub

    return huggingface_hub


def _bar(progress: Progress) -> type[Any]:
    """The progress bar that the hub's library wants, wired to ours."""
    from tqdm.std import tqdm  # type: ignore[import-untyped, unused-ignore]

    class Bar(tqdm):  # type: ignore[misc, type-arg, unused-ignore]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **(options | {"disable": True}))
            self.bytes_done = int(options.get("initial") or 0)

        def update(self, n: float | None = 1) -> None:
            self.bytes_done += int(n or 0)
            progress.done(self.bytes_done)

    return Bar
