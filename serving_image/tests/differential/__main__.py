"""The long run: ``python -m serving_image.tests.differential --examples 20000 [--model lr]``.

Prints what was tried for each model and every difference that nothing explains, with the smallest
request that shows it. Exit code 1 if there is one, 2 if a server does not start or answer.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from .explore import Tally, explore
from .models import MODELS
from .servers import Fleet, ServerError


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m serving_image.tests.differential")
    parser.add_argument(
        "--examples", type=int, default=1000, help="generated requests for each model"
    )
    parser.add_argument(
        "--model", action="append", choices=sorted(MODELS), help="one model; may be repeated"
    )
    parser.add_argument("--seed", type=int, default=0, help="what requests are generated from")
    parser.add_argument(
        "--strict", action="store_true", help="a failure of the model's own code has to be 500"
    )
    return parser.parse_args()


def main() -> int:
    """Runs it; returns the exit code."""
    arguments = _arguments()
    models = [MODELS[name] for name in arguments.model or MODELS]
    total = Tally()
    with tempfile.TemporaryDirectory() as folder, Fleet(models, Path(folder)) as fleet:
        for model in models:
            started = time.monotonic()
            try:
                with fleet.pair(model) as pair:
                    tally = explore(pair, arguments.examples, arguments.seed, arguments.strict)
            except ServerError as error:
                print(f"{model.name}: {error}", file=sys.stderr)
                return 2
            print(f"{model.name} ({time.monotonic() - started:.0f} s): {tally}", flush=True)
            for finding in tally.findings:
                print(finding, flush=True)
            total.tried += tally.tried
            total.predictions += tally.predictions
            total.compiled += tally.compiled
            total.kinds += tally.kinds
            total.findings += tally.findings
    print(f"all: {total}; unexplained, each once: {len(total.findings)}")
    return 1 if total.findings else 0


if __name__ == "__main__":
    sys.exit(main())
