"""The panels of those who measure and act on it: Prometheus, Alertmanager and KEDA."""

from __future__ import annotations

from .board import RED, YELLOW
from .panels import Box, Series, graph


def prometheus() -> list[Box]:
    """How much Prometheus takes in, keeps and computes, and whether it keeps up."""
    last = "prometheus_rule_group_last_duration_seconds"
    every = "prometheus_rule_group_interval_seconds"
    failures = "rate(prometheus_rule_evaluation_failures_total[$__rate_interval])"

    def by_group(of: str) -> Series:
        # The label holds the path of the file before the group's name.
        named = f'label_replace({of}, "group", "$1", "rule_group", ".+;(.+)")'
        return Series(f"max by (group) ({named})", "{{group}}")

    return [
        graph(
            "Samples taken in",
            "Samples a second that Prometheus stores; a fall without fewer pods is bad.",
            "cps",
            Series(
                "sum(rate(prometheus_tsdb_head_samples_appended_total[$__rate_interval]))", "all"
            ),
        ),
        graph(
            "Series",
            "Series that Prometheus holds in memory; a steady rise is bad: memory grows with it.",
            "none",
            Series("prometheus_tsdb_head_series", "{{instance}}"),
        ),
        graph(
            "Data on the volume",
            "Blocks and log on the volume, and, dashed, the size from which on the oldest data "
            "goes; at the limit with less than the 30 days of the objectives is bad.",
            "bytes",
            Series("prometheus_tsdb_storage_blocks_bytes", "blocks"),
            Series("prometheus_tsdb_wal_storage_size_bytes", "log"),
            Series("prometheus_tsdb_retention_limit_bytes", "limit", dashed=True),
        ),
        graph(
            "Rules against their interval",
            "How much of its interval each group of rules takes to compute; near 100 % is bad: "
            "alerts come late.",
            "percentunit",
            by_group(f"({last} / {every})"),
            steps=((0.5, YELLOW), (1, RED)),
        ),
        graph(
            "Rules that fail",
            "Rules a second that could not be computed; any is bad: alerts may stay silent.",
            "ops",
            by_group(failures),
            steps=((0.001, RED),),
        ),
        graph(
            "Scrapes",
            "The longest scrape of each job; at 4 s it is given up, which is bad.",
            "s",
            Series("max by (job) (scrape_duration_seconds)", "{{job}}"),
            steps=((4, RED),),
        ),
        graph(
            "Targets missing",
            "Targets of each job that Prometheus does not reach; any is bad.",
            "none",
            Series("count by (job) (up) - sum by (job) (up)", "{{job}}"),
            steps=((1, RED),),
        ),
        graph(
            "Queries",
            "Time that 90 % of the queries take, by phase; above a second is bad: dashboards and "
            "rollouts wait.",
            "s",
            Series(
                'max by (slice) (prometheus_engine_query_duration_seconds{quantile="0.9"})',
                "{{slice}}",
            ),
        ),
        graph(
            "Alerts not delivered",
            "Alerts a second that no Alertmanager took; any is bad. Empty without an Alertmanager.",
            "ops",
            Series(
                "sum(rate(prometheus_notifications_dropped_total[$__rate_interval]))",
                "dropped",
            ),
            steps=((0.001, RED),),
        ),
    ]


def alertmanager() -> list[Box]:
    """What Alertmanager holds, and whether it gets rid of it."""
    failed = "alertmanager_notifications_failed_total"
    sent = "alertmanager_notifications_total"
    return [
        graph(
            "Alerts held",
            "Alerts that Alertmanager holds, by state; active ones are bad, suppressed ones are "
            "silenced or follow from another.",
            "none",
            Series("sum by (state) (alertmanager_alerts)", "{{state}}"),
            width=12,
        ),
        graph(
            "Notifications",
            "Notifications a second, and those of them that failed; any failure is bad: somebody "
            "is not told.",
            "ops",
            Series(f"sum(rate({sent}[$__rate_interval]))", "sent"),
            Series(f"sum(rate({failed}[$__rate_interval]))", "failed"),
            width=12,
        ),
    ]


def keda() -> list[Box]:
    """What KEDA measures. Empty where no model scales by requests."""
    name = "{{scaledObject}}"
    return [
        graph(
            "Measured",
            "What KEDA's triggers measure, requests a second for all replicas; a gap is bad: the "
            "fallback is in force.",
            "none",
            Series(
                "max by (scaledObject, metric) (keda_scaler_metrics_value)",
                f"{name} {{{{metric}}}}",
            ),
        ),
        graph(
            "Time to measure",
            "How long a trigger takes to be measured; above a second is bad.",
            "s",
            Series("max by (scaledObject) (keda_scaler_metrics_latency_seconds)", name),
        ),
        graph(
            "Triggers in use",
            "1 while a trigger is active; 0 with requests is bad.",
            "none",
            Series("max by (scaledObject, scaler) (keda_scaler_active)", f"{name} {{{{scaler}}}}"),
            top=1,
        ),
    ]
