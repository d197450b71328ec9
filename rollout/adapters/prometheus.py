"""Prometheus, asked over its HTTP API (https://prometheus.io/docs/prometheus/latest/querying/api)."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

from rollout.adapters import samples
from rollout.adapters.exchange import Answer, NoAnswerError, exchange
from rollout.adapters.samples import Series
from rollout.judge.evidence import METRICS, Counts, Reading, added

MAX_SECONDS: Final = 3600
"""How far back a reading goes."""
CHUNK_SECONDS: Final = 600
"""How much one query asks for, so that its answer stays small."""
CLOCK_SLACK: Final = 2.0
"""Seconds by which clocks may differ; one of them is what HTTP's Date leaves out."""
GATEWAY_NAMESPACE: Final = "istio-ingress"
MODELS_NAMESPACE: Final = "models"


class PrometheusError(Exception):
    """Prometheus did not answer, or not as it should; the message says which, and how."""


FOUND_SECONDS: Final = 20.0
"""Within which a pod that has just become ready is found and scraped."""


@dataclass(frozen=True)
class Rates:
    """How a version fared, as a forecast needs it.

    requests: predictions a second. errors, failures, slow: the shares of METRICS, 0 where there is
    nothing to take a share of. seconds: of how much time.
    """

    requests: float
    errors: float
    failures: float
    slow: float
    seconds: float


def quoted(text: str) -> str:
    """`text` as a string of PromQL, in quotes."""
    # PromQL's strings are Go's, which a JSON string without \/ and surrogates is too.
    return json.dumps(text, ensure_ascii=False)


class Prometheus:
    """One Prometheus.

    Args:
        url: without /api.
        timeout: for each question, in seconds.
        gateway: the namespace of the gateway's pods.
    """

    def __init__(self, url: str, timeout: float = 5.0, gateway: str = GATEWAY_NAMESPACE) -> None:
        self.url = url.rstrip("/")
        self._timeout = timeout
        self._gateway = gateway

    def read(self, model: str, canary: int, stable: int, after: float, now: float) -> Reading:
        """The blocks since `after` that are complete `now`, both in seconds since 1970.

        What is missing is told of these blocks, or of the last complete one where there is no new
        one, so it is always of now. No further back than MAX_SECONDS; a line says what is left out.
        If Prometheus does not answer, there is no block and a line that says so; the next reading
        has them all.
        """
        end = samples.last_end(now)
        begin = samples.first_start(after)
        oldest = end - MAX_SECONDS
        lost = []
        if begin < oldest:
            skipped = f"{samples.clock(begin)} to {samples.clock(oldest)}"
            lost = [f"nothing was read of {skipped}: more than {MAX_SECONDS} s back"]
        start = max(oldest, min(begin, end - samples.BLOCK_SECONDS))
        try:
            series, settled = self._series(model, (canary, stable), start, end)
        except PrometheusError as error:
            return Reading(missing=(str(error),))
        if settled <= start:
            return Reading(missing=(f"{self.url}: its clock is {end - settled} s behind or more",))
        reading = samples.blocks(series, canary, stable, start, settled)
        blocks = tuple(block for block in reading.blocks if block.start >= begin)
        return Reading(blocks, samples.short([*lost, *reading.missing]))

    def rates(
        self, model: str, version: int, objective: float, minutes: float = 10
    ) -> Rates | None:
        """How `version` fared in the last `minutes`, or since it was first scraped; None where it
        answered no request that is known of. The gateway may be scraped sooner than its servers,
        and know of the first ones before.

        Args:
            objective: one of LATENCY_BOUNDS, in seconds.

        Raises PrometheusError.
        """
        now = time.time()
        end = samples.last_end(now)
        series, end = self._series(model, (version,), samples.first_start(now - minutes * 60), end)
        seen = samples.first_seen(series, version)
        if seen >= end:
            return None
        start = samples.first_start(max(now - minutes * 60, seen))
        if start >= end:
            return None
        found = samples.blocks(series, version, version, start, end)
        total = added(block.canary for block in found.blocks)
        return _rates(total, objective, end - start) if total.requests else None

    def number(self, promql: str) -> float | str:
        """The one finite number that the query gives now, or else what is wrong with it."""
        try:
            data = self._query(promql)
            kind, result = data["resultType"], data["result"]
            if kind == "vector":
                if len(result) != 1:
                    return f"gives {len(result)} series, not one" if result else "gives nothing"
                value = result[0]["value"]
            elif kind == "scalar":
                value = result
            else:
                return f"gives a {'range' if kind == 'matrix' else kind}, not a number"
            number = float(value[1])
        except PrometheusError as error:
            return str(error)
        except (LookupError, TypeError, ValueError):
            return "gives no number"
        return number if math.isfinite(number) else f"gives {number}"

    def table(self, promql: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series that the query gives now; values may be NaN.

        Raises PrometheusError.
        """
        data = self._query(promql)
        try:
            return [(each["metric"], float(each["value"][1])) for each in data["result"]]
        except (LookupError, TypeError, ValueError):
            raise PrometheusError(f"{self.url} gave no table of numbers for {promql}") from None

    def check_query(self, promql: str) -> str | None:
        """What keeps the query from being PromQL, or None.

        Raises PrometheusError.
        """
        answer = self._post("format_query", {"query": promql})
        payload = self._payload(answer)
        if payload.get("errorType") == "bad_data":
            return _line(payload.get("error")).removeprefix('invalid parameter "query": ')
        self._data(answer)
        return None

    def pods(self, model: str, version: int) -> int:
        """How many pods of the version it scrapes.

        Raises PrometheusError.
        """
        selector = _selector([samples.REQUESTS], model, (version,))
        return len(self.table(f"count by (namespace, pod) ({selector})"))

    def replicas(self, model: str, version: int) -> int | None:
        """How many pods of the version's model server are ready, as kube-state-metrics counts them;
        None where nobody counts them.

        Raises PrometheusError.
        """
        metric, server = "kube_deployment_status_replicas_ready", f"{model}-v{version}"
        found = self.table(
            f"max({metric}{{namespace={quoted(MODELS_NAMESPACE)},deployment={quoted(server)}}})"
        )
        return int(found[0][1]) if found else None

    def ready(self, model: str, version: int, patience: float = FOUND_SECONDS) -> str | None:
        """Why it can tell nothing of the version now, or None if it can. A pod that has just come
        is waited for, `patience` seconds at most.
        """
        until = time.monotonic() + patience
        try:
            while not self.pods(model, version):
                if time.monotonic() >= until:
                    return f"{self.url} scrapes no pod of version {version} of {model}"
                time.sleep(1)
        except PrometheusError as error:
            return str(error)
        return None

    def _series(
        self, model: str, versions: Sequence[int], start: int, end: int
    ) -> tuple[list[Series], int]:
        """The samples that the blocks from `start` to `end` take; and that end, or an earlier one
        where Prometheus' clock says that it has not settled yet.
        """
        series: list[Series] = []
        settled = end
        for begin in range(start, end, CHUNK_SECONDS):
            until = min(begin + CHUNK_SECONDS, end)
            seconds = until - begin + samples.MAX_GAP + 1
            for selector in self._selectors(model, versions):
                answer = self._post(
                    "query", {"query": f"{selector}[{seconds}s]", "time": str(until)}
                )
                series += self._matrix(self._data(answer))
                settled = min(settled, samples.last_end(_clock(answer) + CLOCK_SLACK))
        return series, settled

    def _selectors(self, model: str, versions: Sequence[int]) -> tuple[str, ...]:
        servers = [samples.REQUESTS, samples.ERRORS, samples.BUCKETS]
        namespace = f"namespace={quoted(self._gateway)}"
        beacon = f"{samples.ARRIVED}{{{namespace},cluster_name={quoted(samples.BEACON)}}}"
        return (
            _selector(servers, model, versions),
            _selector([samples.ARRIVED], model, versions, namespace),
            _selector([samples.FAILED], model, versions, namespace, 'response_code_class="5xx"'),
            beacon,
        )

    def _matrix(self, data: Any) -> list[Series]:
        try:
            if data["resultType"] != "matrix":
                raise PrometheusError(f"{self.url} gave a {data['resultType']}, not samples")
            return [
                Series(dict(each["metric"]), [tuple(sample) for sample in each["values"]])
                for each in data["result"]
            ]
        except (LookupError, TypeError, ValueError):
            raise PrometheusError(f"{self.url} gave no samples that can be read") from None

    def _query(self, promql: str) -> Any:
        return self._data(self._post("query", {"query": promql}))

    def _post(self, what: str, form: Mapping[str, str]) -> Answer:
        try:
            return exchange(f"{self.url}/api/v1/{what}", form=form, timeout=self._timeout)
        except NoAnswerError as error:
            raise PrometheusError(str(error)) from None

    def _payload(self, answer: Answer) -> dict[str, Any]:
        try:
            payload = json.loads(answer.body)
        except (ValueError, RecursionError):
            payload = None
        if not isinstance(payload, dict) or "status" not in payload:
            raise PrometheusError(
                f"{self.url} answered with status {answer.status} and no JSON of its API"
            )
        return payload

    def _data(self, answer: Answer) -> Any:
        payload = self._payload(answer)
        if payload["status"] != "success" or answer.status != 200:
            raise PrometheusError(
                f"{self.url} answered: {_line(payload.get('error', answer.status))}"
            )
        if payload.get("warnings"):
            raise PrometheusError(f"{self.url} answered in part: {_line(payload['warnings'])}")
        return payload.get("data")


def _selector(names: Sequence[str], model: str, versions: Sequence[int], *more: str) -> str:
    matchers = (
        f'__name__=~"{"|".join(names)}"',
        f"model_name={quoted(model)}",
        f'model_version=~"{"|".join(map(str, versions))}"',
        *more,
    )
    return f"{{{','.join(matchers)}}}"


def _clock(answer: Answer) -> float:
    """The time at which it answered, by its own clock; that of now where it does not tell."""
    try:
        return parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (KeyError, ValueError):
        return time.time()


def _line(error: object) -> str:
    return " ".join(str(error).split())[:200]


def _rates(total: Counts, objective: float, seconds: float) -> Rates:
    errors, failures, slow = (total.tally(metric, objective) for metric in METRICS)
    return Rates(
        requests=errors.trials / seconds,
        errors=errors.hits / max(errors.trials, 1),
        failures=failures.hits / max(failures.trials, 1),
        slow=slow.hits / max(slow.trials, 1),
        seconds=float(seconds),
    )
