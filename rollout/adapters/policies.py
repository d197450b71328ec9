"""What policy packs say of a configuration, before it is written."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from rollout.adapters.stack import StackError, UpdateError


def objections(directory: Path, stack: str, text: str, packs: Sequence[Path]) -> list[str]:
    """What mandatory policies have against an update of `stack` to the configuration `text`: a
    line each.

    Each pack is configured by its own `<stack>.json`, if all have one. Nothing is changed.

    Args:
        directory: the project's.
        packs: directories with a policy pack.

    Raises:
        StackError: there is no pulumi, no such stack, no passphrase, no such pack.
        UpdateError: the preview failed for another reason; also where a policy crashed.
    """
    from review import command
    from review.preview import PreviewError

    with tempfile.TemporaryDirectory(prefix="slipway-policies-") as folder:
        file = Path(folder) / f"Pulumi.{stack.rpartition('/')[2]}.yaml"
        file.touch(mode=0o600)
        file.write_text(text)
        wanted = command.Wanted(stack, packs, file=file)
        progress = command.Progress()
        try:
            _, found = command.run(wanted, progress, directory)
        except (command.CommandError, PreviewError) as error:
            raise StackError(str(error)) from None
        finally:
            progress.end()
    refused = list(
        dict.fromkeys(
            f"{one.policy}: {' '.join(one.message.split())} ({one.urn.rpartition('::')[2]})"
            for one in found.findings
            if one.mandatory
        )
    )
    if not found.complete and not refused:
        raise UpdateError("; ".join(found.errors) or "the preview failed", "failed")
    return refused
