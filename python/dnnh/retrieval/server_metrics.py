"""Metrics of the search server, in the text format that Prometheus reads."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 60)  # upper bounds of the histogram


class ServerMetrics:
    """Counts of requests, their times, and what is served."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        labels = ("method", "path")
        self._requests = Counter(
            "dnnh_requests", "Requests answered", (*labels, "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "dnnh_request_seconds",
            "From a request's headers to its answer",
            labels,
            registry=self._registry,
            buckets=SECONDS,
        )
        self._images = Gauge("dnnh_index_images", "Images of the index", registry=self._registry)
        self._bits = Gauge("dnnh_index_bits", "Length of its codes", registry=self._registry)
        self._uploads = Gauge(
            "dnnh_uploads_bytes", "Bytes of images that wait", registry=self._registry
        )

    def count(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count a request; ``path`` is a route's, so that there are few."""
        self._requests.labels(method, path, str(status)).inc()
        self._seconds.labels(method, path).observe(seconds)

    def text(self, images: int, bits: int, uploads_bytes: int) -> bytes:
        """All metrics."""
        self._images.set(images)
        self._bits.set(bits)
        self._uploads.set(uploads_bytes)
        return generate_latest(self._registry)
