"""The panels of a model's requests: how many there are, how they are answered, and against which
objectives.
"""

from __future__ import annotations

from .board import FAILURES, ORANGE, RED, YELLOW
from .model_series import MODEL, VERSION, WEIGHT, line, share
from .panels import Box, Series, graph

_BURN = ((1, YELLOW), (6, ORANGE), (14.4, RED))


def traffic() -> list[Box]:
    """What comes in, and which version gets it."""
    return [
        graph(
            "Requests at the gateway",
            "Requests a second that the gateway answered, by version; a sudden fall to 0 is bad.",
            "reqps",
            line("model_version:gateway_requests:rate1m"),
        ),
        graph(
            "Predictions",
            "Prediction requests a second that the servers answered, by "
            "version: those of the gateway, and those that a shadow's comparison copies. Fewer "
            "than at the gateway is bad.",
            "reqps",
            line("model_version:predictions:rate1m"),
        ),
        graph(
            "Share of traffic and weight",
            "The share of the requests that each version got, "
            "and, dashed, the weight that its route gives it; lines that stay apart are bad.",
            "percentunit",
            line("model_version:traffic:share1m"),
            Series(WEIGHT, "weight of v{{model_version}}", dashed=True),
            top=1,
        ),
        graph(
            "Active requests",
            "Prediction requests being received or worked on, by version; a "
            "steady rise is bad: requests come in faster than they are answered.",
            "none",
            Series(
                f"sum by (model_version) (model_active_requests{{{VERSION}}})", "v{{model_version}}"
            ),
        ),
        graph(
            "Answered by the compiled model",
            "The share of the predictions that the compiled "
            "model answered; a fall from 100 % to 0 is bad: each takes many times as long.",
            "percentunit",
            Series(
                share("model_compiled_predictions_total", "model_predictions_total", VERSION),
                "v{{model_version}}",
            ),
            top=1,
        ),
        graph(
            "Size of inputs",
            "The mean size of a request's body over 5 minutes, and the 95th "
            "percentile, dashed, known to a factor of four; a jump is bad: clients send "
            "something else.",
            "bytes",
            line("model_version:input_size_bytes:mean_rate5m"),
            Series(
                "histogram_quantile(0.95, sum by (le, model_version) "
                f"(rate(model_input_size_bytes_bucket{{{VERSION}}}[$__rate_interval])))",
                "p95 of v{{model_version}}",
                dashed=True,
            ),
        ),
    ]


def quality() -> list[Box]:
    """Failures, errors and latency, a line for each version."""
    errors = f"rate(model_prediction_errors_total{{{VERSION}}}[$__rate_interval])"
    return [
        graph(
            "Failures at the gateway",
            "The share of the requests answered with a status of "
            "500 or more, by version, the gateway's own answers included; a canary above stable "
            "is bad.",
            "percentunit",
            line("model_version:gateway_failures:ratio_rate1m"),
            steps=FAILURES,
        ),
        graph(
            "Prediction errors",
            "The share of the predictions that the servers answered with "
            "an error, a client's mistakes included, by version; a canary above stable is bad.",
            "percentunit",
            line("model_version:prediction_errors:ratio_rate1m"),
            steps=FAILURES,
        ),
        graph(
            "Prediction errors by type",
            "Errors a second by version and type; model_error, "
            "timeout, overloaded and internal are bad, the others are the client's.",
            "reqps",
            Series(
                f"sum by (model_version, error_type) ({errors})",
                "v{{model_version}} {{error_type}}",
            ),
        ),
        *(
            graph(
                f"Latency, {name}",
                f"{share} of the predictions are ready within this time, "
                "by version, whole request received to answer ready; a canary above stable is "
                "bad.",
                "s",
                line(f"model_version:latency_seconds:{name}_rate1m"),
            )
            for name, share in (("p50", "Half"), ("p95", "95 %"), ("p99", "99 %"))
        ),
    ]


def objectives() -> list[Box]:
    """The error budget of the model, and how fast it is used up."""
    burns = [
        graph(
            f"{kind.capitalize()} burn rate",
            f"How many times faster than the objective allows its budget of {what} is used up, "
            "over each window; 1 uses it up in 30 days, and 14.4 for an hour, which is bad, 2 % "
            "of it.",
            "none",
            *(
                Series(
                    f"model:{kind}_errors:ratio_rate{window}{{{MODEL}}} / on (model_name) "
                    f"(1 - model:{kind}_objective:ratio{{{MODEL}}})",
                    window,
                )
                for window in ("5m", "1h", "6h", "1d", "3d")
            ),
            steps=_BURN,
        )
        for kind, what in (("availability", "failures"), ("latency", "slow predictions"))
    ]
    left = graph(
        "Error budget left",
        "What is left of the failures that the availability objective allows in 30 days, as far "
        "back as the data goes; 0 or less is bad: the objective is missed.",
        "percentunit",
        Series(f"model:availability_budget_remaining:ratio{{{MODEL}}}", "{{model_name}}"),
        top=1,
    )
    return [left, *burns]
