"""What Clary will not have of CloudWatch and Application Auto Scaling."""

from __future__ import annotations

from collections.abc import Mapping

_ANOMALIES = (
    "Clary learns no bands of what is normal. Alarm on a threshold, or on metric math over the metric's own past "
    "(RATE, DIFF, AVG, STDDEV)."
)
_PICTURES = (
    "Clary draws no pictures of metrics. Read the numbers with GetMetricData, or let Grafana draw them from /metrics."
)
_STREAMS = "Clary has no Firehose to send metrics to. Let Prometheus or another OpenMetrics reader scrape /metrics."

_FORECASTS = (
    "Clary forecasts no load from a day's pattern. Follow the load with a target tracking policy, or set a floor for known hours with "
    "PutScheduledAction."
)

ROWS: Mapping[tuple[str, str], str] = {
    ("application-autoscaling", "GetPredictiveScalingForecast"): _FORECASTS,
    **{
        ("cloudwatch", name): _ANOMALIES
        for name in ("PutAnomalyDetector", "DescribeAnomalyDetectors", "DeleteAnomalyDetector")
    },
    ("cloudwatch", "GetMetricWidgetImage"): _PICTURES,
    **{
        ("cloudwatch", name): _STREAMS
        for name in (
            "PutMetricStream",
            "GetMetricStream",
            "ListMetricStreams",
            "DeleteMetricStream",
            "StartMetricStreams",
            "StopMetricStreams",
        )
    },
}
