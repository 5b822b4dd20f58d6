"""Prometheus metrics of one ingress."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """The metrics of an ingress, in a registry of their own.

    Attributes:
        registry: the registry.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "colorgan_requests",
            "Requests, by endpoint, class, model and status",
            ("endpoint", "photo_class", "model", "status"),
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "colorgan_requests_in_flight", "Requests being processed", registry=self.registry
        )
        self.arriving = Gauge(
            "colorgan_upload_bytes",
            "Bytes of the bodies of unfinished requests",
            registry=self.registry,
        )
        self._stages = Histogram(
            "colorgan_stage_seconds",
            "Seconds that a stage of a request took, waiting included",
            ("stage",),
            registry=self.registry,
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
        )
        self.batches = Histogram(
            "colorgan_batch_photographs",
            "Photographs in the batch that a photograph was coloured in",
            ("model",),
            registry=self.registry,
            buckets=(1, 2, 4, 8, 16, 32),
        )

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the time of a stage, as a context manager."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._stages.labels(name).observe(time.perf_counter() - started)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
