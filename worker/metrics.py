"""What a worker counts and times."""

from prometheus_client import Counter, Gauge, Histogram

STAGE_SECONDS = Histogram(
    "likeness_stage_duration_seconds",
    "Time one image spent in a stage, waiting for its batch included.",
    ["stage"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
OUTCOMES = Counter("likeness_images_processed", "Attempts that ended.", ["outcome"])
IN_FLIGHT = Gauge("likeness_images_in_flight", "Images this worker has claimed.")
AT_GATE = Gauge("likeness_images_at_gate", "Images this worker does not claim while what they need is down.")
BYTES_IN_FLIGHT = Gauge("likeness_bytes_in_flight", "Bytes of uploaded files that this worker holds, or is fetching.")
DOWNLOADS = Counter("likeness_downloads", "Downloads of imports that ended.", ["outcome"])
COMPARED = Counter("likeness_images_compared", "Images whose duplicates have been looked for.")
SWEPT = Counter("likeness_swept", "What the sweep healed.", ["kind"])
LEFT_BEHIND = Counter("likeness_left_behind", "Images that went on without a building model's vector.", ["model"])
MISMATCHES = Counter("likeness_audit_mismatches", "What audits found, mended or not.", ["kind"])
